/**
 * A real web server for a backend: it answers any path, serves files, and keeps what is uploaded. /who?token=T says the
 * server's name, whom it sees asking, and T.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Host } from './namespaces.js'
import type { Running } from './process.js'

/** A line of the access log: a request that was answered. */
export interface Served {
  /** The address that the client asked: the VIP, unless someone asked the backend itself. */
  readonly server: string
  readonly client: string
  readonly clientPort: number
  readonly path: string
  readonly status: number
}

export interface WebServer {
  readonly start: () => Promise<void>
  /** Ends it at once, requests in flight included. */
  readonly stop: () => Promise<void>
  readonly served: () => readonly Served[]
}

const config = (name: string, directory: string, files: string, port: number) => `
daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log ${directory}/error.log;
events { worker_connections 4096; }
http {
  log_format lab '$server_addr $remote_addr $remote_port $uri $status';
  access_log ${directory}/access.log lab;
  client_body_temp_path ${directory}/body;
  proxy_temp_path ${directory}/proxy;
  fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi;
  scgi_temp_path ${directory}/scgi;
  client_max_body_size 100m;
  sendfile on;
  add_header X-Backend ${name} always;
  server {
    listen ${port} default_server backlog=4096;
    listen [::]:${port} default_server backlog=4096;
    location / { return 200 "${name}\\n"; }
    location = /who { access_log off; return 200 "${name} $remote_addr $remote_port $arg_token\\n"; }
    location = /healthz { access_log off; return 200 "ok\\n"; }
    location /files/ { alias ${files}/; }
    location /slow/ { alias ${files}/; limit_rate 32k; }
    location = /upload {
      client_body_in_file_only on;
      proxy_pass http://unix:${directory}/sink.sock;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      add_header X-Body-File $request_body_file always;
    }
  }
  server {
    listen unix:${directory}/sink.sock;
    access_log off;
    location / { return 204; }
  }
}
`

const parseLine = (line: string): Served => {
  const [server = '', client = '', clientPort = '', path = '', status = ''] = line.split(' ')
  return { server, client, clientPort: Number(clientPort), path, status: Number(status) }
}

/**
 * @param directory the server's own files: made here
 * @param files     served below /files/, and at 32 kB/s below /slow/
 */
export const webServer = (
  host: Host,
  name: string,
  directory: string,
  files: string,
  port = 80,
): WebServer => {
  mkdirSync(directory, { recursive: true })
  writeFileSync(`${directory}/nginx.conf`, config(name, directory, files, port))
  let running: Running | undefined

  const waitUntilListening = async (server: Running) => {
    let ended = false
    server.exited.then(
      () => {
        ended = true
      },
      () => {
        ended = true
      },
    )
    for (let attempt = 0; attempt < 100; attempt++) {
      if (ended) break
      const { code } = await host.capture([
        'curl',
        '-sf',
        '-m',
        '1',
        '-o',
        '/dev/null',
        `http://127.0.0.1:${port}/healthz`,
      ])
      if (code === 0) return
      await sleep(50)
    }
    throw new Error(`nginx of ${name} does not answer: ${server.output().stderr.trim()}`)
  }
  return {
    start: async () => {
      running = host.start([
        'nginx',
        '-p',
        directory,
        '-e',
        `${directory}/error.log`,
        '-c',
        `${directory}/nginx.conf`,
      ])
      await waitUntilListening(running)
    },
    stop: async () => {
      await running?.stop()
      running = undefined
    },
    served: () => {
      try {
        return readFileSync(`${directory}/access.log`, 'utf8').split('\n').slice(0, -1).map(parseLine)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      }
    },
  }
}
