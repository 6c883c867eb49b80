/** A server that sends back what it gets, and remembers what happened; and clients of it. */
import { Effect } from "effect"
import { once } from "node:events"
import * as net from "node:net"

/** Until the scope closes; on this address of the machine. */
export const server = (host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const seen: Array<string> = []
      const sockets = new Set<net.Socket>()
      const server = net.createServer((socket) => {
        sockets.add(socket)
        socket.on("data", (chunk) => {
          seen.push(String(chunk))
          socket.write(chunk)
        })
        socket.on("end", () => seen.push("end"))
        socket.on("error", () => undefined)
        socket.on("close", () => sockets.delete(socket))
      })
      await once(server.listen(0, host), "listening")
      const { port } = server.address() as net.AddressInfo
      return { server, sockets, seen, port }
    }),
    ({ server, sockets }) =>
      Effect.promise(async () => {
        for (const socket of sockets) socket.destroy()
        server.close()
        await once(server, "close")
      }),
  )

/** Connected when it returns; until the scope closes. */
export const client = (port: number, host = "127.0.0.1") =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = net.connect({ port, host, noDelay: true })
      await once(socket, "connect")
      let got = ""
      const waiting = new Set<() => void>()
      const check = () => waiting.forEach((isMet) => isMet())
      socket.on("data", (chunk) => {
        got += String(chunk)
        check()
      })
      let isClosed = false
      socket.on("error", () => undefined)
      socket.on("close", () => {
        isClosed = true
        check()
      })
      const until = (holds: () => boolean) =>
        new Promise<void>((resolve) => {
          const isMet = () => {
            if (!holds()) return
            waiting.delete(isMet)
            resolve()
          }
          waiting.add(isMet)
          isMet()
        })
      return {
        send: (text: string) => void socket.write(text),
        end: () => void socket.end(),
        destroy: () => void socket.destroy(),
        got: () => got,
        isClosed: () => isClosed,
        gets: (text: string) => Effect.promise(() => until(() => got.includes(text))),
        closes: Effect.promise(() => until(() => isClosed)),
        socket,
      }
    }),
    ({ socket }) => Effect.sync(() => void socket.destroy()),
  )
