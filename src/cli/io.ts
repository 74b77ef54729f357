/** What the command line talks to; a test gives its own. */
type Output = NodeJS.WritableStream & { readonly isTTY?: boolean | undefined }

export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  readonly env: Readonly<Record<string, string | undefined>>
  /** Ends a command that would otherwise go on for ever. Without it, Ctrl-C ends the process. */
  readonly signal?: AbortSignal
}
