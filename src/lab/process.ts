/** Processes of the lab: each in a session of its own, so that Ctrl-C reaches only whoever started the lab. */
import { type ChildProcess, spawn } from 'node:child_process'

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly pid: number
  readonly stdin: NonNullable<ChildProcess['stdin']>
  readonly exited: Promise<Exit>
  /** What it has printed so far. */
  readonly output: () => { readonly stdout: string; readonly stderr: string }
  /** Signals it and all it started; kills them when they are not gone in 5 s. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<Exit>
}

export type Command = readonly [program: string, ...args: string[]]

const GRACE_MS = 5000

/** Starts a program and does not wait. A program that cannot be started makes `exited` fail. */
export const start = (command: Command): Running => {
  const [program, ...args] = command
  const child = spawn(program, args, { detached: true, stdio: 'pipe' })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', text => {
    stderr += text
  })
  child.stdin.on('error', () => {}) // EPIPE: it has ended, which `exited` tells
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
  exited.catch(() => {})

  const signalGroup = (signal: NodeJS.Signals) => {
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, signal)
    } catch {
      // ESRCH: all of them have ended
    }
  }
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    signalGroup(signal)
    const timer = setTimeout(() => signalGroup('SIGKILL'), GRACE_MS)
    try {
      return await exited
    } finally {
      clearTimeout(timer)
    }
  }
  return { pid: child.pid ?? 0, stdin: child.stdin, exited, output: () => ({ stdout, stderr }), stop }
}

/** Runs a program to its end, whatever its exit code; kills it after `timeoutMs`. */
export const capture = async (
  command: Command,
  options: { input?: string; timeoutMs?: number } = {},
): Promise<Exit> => {
  const running = start(command)
  running.stdin.end(options.input ?? '')
  const timer = setTimeout(() => void running.stop('SIGKILL').catch(() => {}), options.timeoutMs ?? 60_000)
  try {
    return await running.exited
  } finally {
    clearTimeout(timer)
  }
}

/** Runs a program that must succeed, and returns what it printed. */
export const run = async (
  command: Command,
  options: { input?: string; timeoutMs?: number } = {},
): Promise<string> => {
  const exit = await capture(command, options)
  if (exit.code === 0) return exit.stdout
  const how = exit.signal ? `was ended by ${exit.signal}` : `failed with ${exit.code}`
  throw new Error(`${command.join(' ')} ${how}: ${(exit.stderr || exit.stdout).trim()}`)
}
