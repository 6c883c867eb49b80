/** Pages that listen, over real sockets: one that does not read, and too many. */
import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import * as http from "node:http"
import * as net from "node:net"
import * as Listeners from "../../src/dashboard/Listeners.ts"

describe("a page that does not read", () => {
  const served = Effect.acquireRelease(
    Effect.callback<{ listeners: Listeners.Listeners; port: number; server: http.Server }>((resume) => {
      const listeners = Listeners.make()
      const server = http.createServer((_, response) => {
        response.writeHead(200)
        if (!listeners.add(response)) response.end("full")
        else response.write("hello")
      })
      server.listen(0, "127.0.0.1", () => {
        resume(Effect.succeed({ listeners, server, port: (server.address() as net.AddressInfo).port }))
      })
    }),
    ({ server }) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      }),
  )
  const connect = (port: number) =>
    Effect.callback<{ readonly socket: net.Socket; readonly answer: string }>((resume) => {
      const socket = net.connect(port, "127.0.0.1")
      socket.on("error", () => {})
      socket.once("data", (bytes: Buffer) => resume(Effect.succeed({ socket, answer: bytes.toString() })))
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    })

  it.live("is cut off when its buffer is full, and the others hear everything", () =>
    Effect.gen(function* () {
      const { listeners, port } = yield* served
      const { socket: dead } = yield* connect(port)
      dead.pause()
      const { socket: alive } = yield* connect(port)
      let heard = 0
      alive.on("data", (bytes: Buffer) => (heard += bytes.length))
      expect(listeners.size()).toBe(2)
      const bytes = Buffer.alloc(Listeners.mostBuffered / 8, "x")
      let sent = 0
      // What the system buffers comes before what is kept here.
      while (listeners.size() === 2 && sent < 64 * 1024 * 1024) {
        listeners.send(bytes)
        sent += bytes.length
        yield* Effect.callback<void>((resume) => {
          const look = () => (heard < sent ? setImmediate(look) : resume(Effect.void))
          look()
        })
      }
      expect(listeners.size()).toBe(1)
      expect(heard).toBeGreaterThanOrEqual(sent)
      alive.destroy()
    }),
  )

  it.live("takes no place from the session: the hundred-and-first is refused", () =>
    Effect.gen(function* () {
      const { listeners, port } = yield* served
      const listening = yield* Effect.forEach(Array.from({ length: Listeners.mostListeners }), () => connect(port), {
        concurrency: 10,
      })
      expect(listeners.size()).toBe(Listeners.mostListeners)
      const refused = yield* connect(port)
      expect(refused.answer).toContain("full")
      expect(listeners.size()).toBe(Listeners.mostListeners)
      for (const { answer, socket } of [...listening, refused]) {
        expect(answer.includes("full")).toBe(socket === refused.socket)
        socket.destroy()
      }
    }),
  )
})
