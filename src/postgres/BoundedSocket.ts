/**
 * A connection to a server that may fall silent: its callers are told so within a bound.
 *
 * A timeout around a statement does not end when the server is frozen or cut off: the driver waits for an answer to its
 * request to cancel. So the bound is here: what was asked, and had not one byte of an answer for so long, ends the connection. A
 * connection of which nothing is asked is left alone.
 */
import * as net from "node:net"
import { Duplex } from "node:stream"
import { clearTimeout, setTimeout } from "node:timers"

/** After so much silence the system itself asks whether the other end is there. */
const keepAliveMillis = 2000

interface SocketOptions {
  readonly address: { readonly host: string; readonly port: number } | { readonly path: string }
  /** In milliseconds. */
  readonly silence: number
  /** Called once, when the connection is gone. */
  readonly onClose?: (() => void) | undefined
}

class BoundedSocket extends Duplex {
  readonly #socket: net.Socket
  readonly #silence: number
  #timer: NodeJS.Timeout | undefined

  constructor({ address, onClose, silence }: SocketOptions) {
    super()
    this.#silence = silence
    this.#socket = net.connect({ ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMillis })
    this.#socket.on("data", (chunk) => {
      this.#answered()
      if (!this.push(chunk)) this.#socket.pause()
    })
    this.#socket.on("end", () => this.push(null))
    this.#socket.on("error", (error) => this.destroy(error))
    this.#socket.on("close", () => this.destroy())
    this.once("close", () => onClose?.())
  }

  #answered() {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  override _read() {
    this.#socket.resume()
  }

  override _write(chunk: Uint8Array, _: BufferEncoding, done: (error?: Error | null) => void) {
    this.#timer ??= setTimeout(
      () => this.destroy(new Error(`no answer within ${this.#silence / 1000} s`)),
      this.#silence,
    )
    this.#socket.write(chunk, done)
  }

  override _final(done: (error?: Error | null) => void) {
    this.#socket.end(done)
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void) {
    this.#answered()
    this.#socket.destroy()
    done(error)
  }
}

/** Opens it. With TLS it stands below that, and sees its bytes. */
export const open = (options: SocketOptions): Duplex => new BoundedSocket(options)
