/**
 * Asks DNS servers for a TXT record, with the resolver that Node brings: `dns-ask.ts SERVER COUNT`, a socket of its own
 * for each question. Prints a JSON list: the record, or the error's code.
 */
import { Resolver } from 'node:dns/promises'

const [server = '', count] = process.argv.slice(2)
const ask = async (number: number): Promise<string> => {
  const resolver = new Resolver({ timeout: 1000, tries: 2 })
  resolver.setServers([server.includes(':') ? `[${server}]` : server])
  try {
    const records = await resolver.resolveTxt(`q${number}.example.`)
    return records.flat().join('')
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
const answers = await Promise.all(Array.from({ length: Number(count) }, (_, number) => ask(number)))
process.stdout.write(JSON.stringify(answers))
