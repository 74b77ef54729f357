/**
 * BTF of what is compiled from bpf/ -> TypeScript: one descriptor for each struct that a map's key or value or the
 * configuration names, each enum by name, the maps' names. `--check` compares instead of writing; the name of an object
 * means that one alone.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface Member {
  readonly name: string
  readonly type_id: number
  readonly bits_offset: number
  readonly bitfield_size?: number
}
interface Type {
  readonly id: number
  readonly kind: string
  readonly name: string
  readonly size?: number
  readonly type_id?: number
  readonly nr_elems?: number
  readonly encoding?: string
  readonly members?: readonly Member[]
  readonly values?: readonly { readonly name: string; readonly val: number }[]
}

interface Layout {
  readonly object: string
  /** Where its structs are declared. */
  readonly header: string
  readonly target: string
  /** As the target imports it. */
  readonly codec: string
}

const layouts: readonly Layout[] = [
  {
    object: 'balancer',
    header: 'bpf/shared.h',
    target: 'src/dataplane/layout.ts',
    codec: './codec.js',
  },
  {
    object: 'decap',
    header: 'bpf/decap.h',
    target: 'src/join/layout.ts',
    codec: '../dataplane/codec.js',
  },
  {
    object: 'toa',
    header: 'bpf/toa.h',
    target: 'src/join/toa-layout.ts',
    codec: '../dataplane/codec.js',
  },
]

const path = (relative: string): string => fileURLToPath(new URL(`../${relative}`, import.meta.url))

const textOf = ({ object, header, codec }: Layout): string => {
  const types = new Map<number, Type>()
  const dump = JSON.parse(
    execFileSync('bpftool', ['-j', 'btf', 'dump', 'file', path(`build/native/bpf/${object}.bpf.o`)], {
      encoding: 'utf8',
    }),
  ) as { types: Type[] }
  for (const type of dump.types) types.set(type.id, type)

  const get = (id: number | undefined): Type => {
    const type = types.get(id ?? 0)
    if (!type) throw new Error(`BTF has no type ${id}`)
    return type
  }
  const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  /** Through const, volatile and pointers to what is meant. */
  const bare = (id: number | undefined): Type => {
    const type = get(id)
    return ['CONST', 'VOLATILE', 'PTR'].includes(type.kind) ? bare(type.type_id) : type
  }

  const scalars: Readonly<Record<string, string>> = {
    __u8: 'u8',
    __u16: 'u16',
    __u32: 'u32',
    __u64: 'u64',
    __be16: 'u16be',
    __be32: 'u32be',
  }

  /** The codec's call for one member; what the codec has no word for is refused by name. */
  const fieldOf = (owner: string, member: Member): string => {
    const refuse = (why: string): never => {
      throw new Error(`struct ${owner}: member ${member.name} ${why}`)
    }
    if (member.bitfield_size) refuse('is a bitfield')
    const type = get(member.type_id)
    const offset = member.bits_offset / 8
    if (type.kind === 'TYPEDEF')
      return `${scalars[type.name] ?? refuse(`is of type ${type.name}`)}(${offset})`
    if (type.kind === 'STRUCT' && type.name === 'in6_addr') return `bytes(${offset}, 16)`
    if (type.kind === 'ARRAY') {
      const element = get(type.type_id)
      if (element.name === '__u8') return `bytes(${offset}, ${type.nr_elems})`
      if (element.name === '__u64') return `u64s(${offset}, ${type.nr_elems})`
      refuse(`is an array of ${element.name}`)
    }
    return refuse(`is a ${type.kind}`)
  }

  const structs = new Map<string, Type>()
  const enums = new Map<string, Type>()
  const maps: string[] = []
  const meet = (id: number | undefined): void => {
    const type = bare(id)
    if (type.kind === 'STRUCT' && type.name !== 'in6_addr') structs.set(type.name, type)
    if (type.kind === 'ENUM') enums.set(type.name, type)
  }

  for (const variable of types.values()) {
    if (variable.kind !== 'VAR') continue
    const type = bare(variable.type_id)
    const members = new Map(type.members?.map(member => [member.name, member.type_id]))
    // A map whose sizes alone are given: the program's own, which user space neither reads nor keeps.
    if (members.has('key_size')) continue
    if (type.name === '(anon)' && members.has('key') && members.has('value')) {
      maps.push(variable.name)
      meet(members.get('key'))
      meet(members.get('value'))
    } else {
      meet(variable.type_id)
    }
  }

  const structText = (type: Type): string => {
    const fields = type.members!.filter(member => !/^pad\d*$/.test(member.name))
    return `/** struct ${type.name}, ${type.size} bytes. */
export const ${camel(type.name)}Layout = struct(${type.size}, {
${fields.map(member => `  ${camel(member.name)}: ${fieldOf(type.name, member)},`).join('\n')}
})`
  }
  const enumText = (type: Type): string => `/** enum ${type.name} */
export const ${camel(type.name)} = {
${type.values!.map(({ name, val }) => `  ${name}: ${val},`).join('\n')}
} as const`

  const inOrder = (byName: ReadonlyMap<string, Type>): Type[] =>
    [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  const body = [...inOrder(structs).map(structText), ...inOrder(enums).map(enumText)].join('\n\n')
  const used = ['bytes', 'struct', 'u16', 'u16be', 'u32', 'u32be', 'u64', 'u64s', 'u8'].filter(name =>
    new RegExp(`\\b${name}\\(`).test(body),
  )
  return `// Generated from ${header} by tools/btf-layout.ts; \`npm run layout\` writes it again.
import { ${used.join(', ')} } from '${codec}'

${body}

export const mapNames = [${maps
    .sort()
    .map(name => `'${name}'`)
    .join(', ')}] as const
`
}

const named = process.argv.slice(2).filter(word => !word.startsWith('--'))
for (const layout of layouts.filter(({ object }) => named.length === 0 || named.includes(object))) {
  const target = path(layout.target)
  const text = textOf(layout)
  if (!process.argv.includes('--check')) writeFileSync(target, text)
  else if (readFileSync(target, 'utf8') !== text) {
    console.error(`${layout.target} is not what ${layout.header} says: run \`npm run layout\` and commit it`)
    process.exitCode = 1
  }
}
