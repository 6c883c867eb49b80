/** Ports of this machine for servers of tests. */
import { once } from "node:events"
import * as net from "node:net"

/**
 * Below those that the system gives to connections (32768 and up on Linux): while a server is down none of them takes its
 * port, and none of them reaches itself there.
 */
const range = { from: 20_000, to: 32_000 }

/** One that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = range.from + Math.floor(Math.random() * (range.to - range.from))
    const server = net.createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      server.once("error", () => resolve(false))
      server.listen(port, "127.0.0.1", () => resolve(true))
    })
    if (!isFree) continue
    server.close()
    await once(server, "close")
    return port
  }
}

/** Whether a connection to it is taken. */
export const isTaken = async (address: { readonly host: string; readonly port: number }): Promise<boolean> => {
  const socket = net.connect(address)
  const isTaken = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true))
    socket.once("error", () => resolve(false))
  })
  socket.destroy()
  return isTaken
}
