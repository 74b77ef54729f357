#!/usr/bin/env node
import { main } from './cli/main.js'

process.stdout.on('error', error => {
  if ('code' in error && error.code === 'EPIPE') process.exit(0) // the reader, `head` perhaps, has enough
  throw error
})

process.exitCode = await main(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
})
