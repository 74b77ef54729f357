import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { z } from 'zod'
import type { Context } from './context.js'

const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
const { version } = z.object({ version: z.string() }).parse(JSON.parse(text))

/** That of the package. */
export const packageVersion = (): string => version

export const addVersion = (program: Command, { print }: Context): void => {
  program
    .command('version')
    .description('print the version')
    .action(() => print({ version: packageVersion() }, ({ version }) => `linimo ${version}\n`))
}
