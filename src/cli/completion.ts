/** Completion scripts for shells, made from the tree of commands. */
import { Argument, type Command } from 'commander'
import type { Context } from './context.js'

interface Place {
  /** The commands so far, "backend set"; "" at the beginning. */
  readonly path: string
  /** What may follow: commands and options. */
  readonly words: readonly string[]
}

/** Every command's names; an alias leads to the same place as its name. */
const namesOf = (command: Command): readonly string[] => [command.name(), ...command.aliases()]

const places = (command: Command, path: string, globalOptions: readonly string[]): readonly Place[] => {
  const options = command.options.flatMap(({ long }) => (long ? [long] : []))
  const words = [...command.commands.map(child => child.name()), ...new Set([...options, ...globalOptions])]
  const below = command.commands.flatMap(child =>
    namesOf(child).flatMap(name => places(child, `${path} ${name}`.trim(), globalOptions)),
  )
  return [{ path, words }, ...below]
}

/** Files are completed by the shell where nothing else fits. */
const bash = (all: readonly Place[]): string => `_linimo() {
  local word place= words=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$place\${place:+ }$word" in
${all
  .filter(({ path }) => path !== '')
  .map(({ path }) => `      '${path}') place='${path}' ;;\n`)
  .join('')}    esac
  done
  case "$place" in
${all.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;\n`).join('')}  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _linimo linimo
`

const zsh = (all: readonly Place[]): string => `autoload -U +X bashcompinit && bashcompinit\n${bash(all)}`

export const addCompletion = (program: Command, { io }: Context): void => {
  program
    .command('completion')
    .description('print a completion script: source <(linimo completion bash)')
    .addArgument(new Argument('<shell>').choices(['bash', 'zsh']))
    .action((shell: 'bash' | 'zsh') => {
      const globalOptions = program.options.flatMap(({ long }) => (long ? [long] : []))
      io.stdout.write((shell === 'bash' ? bash : zsh)(places(program, '', globalOptions)))
    })
}
