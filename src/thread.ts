/** Worker threads of this package, compiled or run from source. */
import { Worker } from 'node:worker_threads'

/** Run from source (tests, benches), a worker thread has no loader for TypeScript but the one it registers itself. */
const fromSource = (url: URL): string =>
  `import('tsx/esm/api').then(({ register }) => { register(); return import('${url.href}') })`

/**
 * @param here the caller's `import.meta.url`
 * @param file the thread's module, relative to the caller and without its ending
 */
export const startThread = (here: string, file: string): Worker =>
  here.endsWith('.ts')
    ? new Worker(fromSource(new URL(`${file}.ts`, here)), { eval: true, execArgv: [] })
    : new Worker(new URL(`${file}.js`, here))
