/** The text of a systemd unit that joins at each boot. Pure. */

/** A word as systemd.service(5) reads it, "COMMAND LINES" and "SPECIFIERS". */
const quoted = (word: string): string => {
  const escaped = word
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$')
    .replaceAll('\n', '\\n')
  return /^[\w@:,.+=/-]+$/.test(word) ? word : `"${escaped}"`
}

export interface UnitCommands {
  /** Program and arguments, the program's path absolute. */
  readonly join: readonly string[]
  readonly leave: readonly string[]
  /** Interfaces that it waits for. */
  readonly interfaces: readonly string[]
}

/** As systemd-escape(1) --path does. */
const unitName = (word: string): string =>
  [...Buffer.from(word)]
    .map((byte, i) => {
      const letter = String.fromCharCode(byte)
      return /[A-Za-z0-9:_]/.test(letter) || (letter === '.' && i > 0)
        ? letter
        : `\\x${byte.toString(16).padStart(2, '0')}`
    })
    .join('')

export const unitText = ({ join, leave, interfaces }: UnitCommands): string => {
  const devices = interfaces.map(name => `sys-subsystem-net-devices-${unitName(name)}.device`)
  const after = ['network-online.target', ...devices].join(' ')
  return `[Unit]
Description=Backend of a Linimo load balancer
Wants=network-online.target
After=${after}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=${join.map(quoted).join(' ')}
ExecStop=${leave.map(quoted).join(' ')}

[Install]
WantedBy=multi-user.target
`
}
