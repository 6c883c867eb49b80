/**
 * A way to a server that can be cut in silence: connections stay, and nothing gets through, in either direction, neither bytes nor
 * an end. New connections are taken and lead nowhere. When it heals, what was held back is delivered, as a network delivers what is
 * sent again; a new connection that its client has given up by then never reaches the server.
 *
 * Unlike at a cut network, both ends have their bytes acknowledged, so that keepalives see nothing (`NetworkNamespace` cuts a real
 * one).
 */
import { Effect, type Scope } from "effect"
import { once } from "node:events"
import * as net from "node:net"

export interface CutRelay {
  /** On 127.0.0.1. */
  readonly port: number
  readonly cut: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

export interface CutRelayOptions {
  readonly host?: string
  readonly port: number
}

class Relay {
  readonly #to: net.NetConnectOpts
  readonly #sockets = new Set<net.Socket>()
  /** What waits until it heals. */
  #held: Array<() => void> = []
  #isCut = false

  readonly server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    this.#own(near)
    if (this.#isCut) this.#keepWaiting(near)
    else this.#open(near)
  })

  constructor({ host = "127.0.0.1", port }: CutRelayOptions) {
    this.#to = { host, port, allowHalfOpen: true, noDelay: true }
  }

  #own(socket: net.Socket) {
    this.#sockets.add(socket)
    socket.once("close", () => this.#sockets.delete(socket))
    // What follows is a close.
    socket.on("error", () => undefined)
  }

  /** At once, or when it heals. */
  #pass(what: () => void) {
    if (this.#isCut) this.#held.push(what)
    else what()
  }

  /** A connection that nothing answers, and that its client may give up. */
  #keepWaiting(near: net.Socket) {
    const sent: Array<Buffer> = []
    const collect = (chunk: Buffer) => void sent.push(chunk)
    near.on("data", collect)
    this.#held.push(() => {
      near.off("data", collect).pause()
      if (near.destroyed || near.readableEnded) return void near.destroy()
      near.unshift(Buffer.concat(sent))
      this.#open(near)
    })
  }

  #open(near: net.Socket) {
    const far = net.connect(this.#to)
    this.#own(far)
    this.#forward(near, far)
    this.#forward(far, near)
    this.#resume(near)
  }

  #forward(from: net.Socket, to: net.Socket) {
    from.on("data", (chunk) => {
      if (!to.write(chunk)) from.pause()
    })
    to.on("drain", () => this.#resume(from))
    // A socket that is paused tells its end all the same, when nothing was sent before it.
    from.on("end", () => this.#pass(() => to.end()))
    from.on("close", () => this.#pass(() => to.destroySoon()))
  }

  #resume(socket: net.Socket) {
    this.#pass(() => socket.resume())
  }

  cut() {
    if (this.#isCut) return
    this.#isCut = true
    for (const socket of this.#sockets) {
      socket.pause()
      this.#resume(socket)
    }
  }

  heal() {
    this.#isCut = false
    const held = this.#held
    this.#held = []
    for (const what of held) what()
  }

  close() {
    this.#held = []
    for (const socket of this.#sockets) socket.destroy()
    this.server.close()
    return once(this.server, "close")
  }
}

/** Leads to a server until the scope closes. */
export const make = Effect.fnUntraced(function* (to: CutRelayOptions): Effect.fn.Return<CutRelay, never, Scope.Scope> {
  const relay = new Relay(to)
  yield* Effect.acquireRelease(
    Effect.promise(() => once(relay.server.listen(0, "127.0.0.1"), "listening")),
    () => Effect.promise(() => relay.close()),
  )
  return {
    port: (relay.server.address() as net.AddressInfo).port,
    cut: Effect.sync(() => relay.cut()),
    heal: Effect.sync(() => relay.heal()),
  }
})
