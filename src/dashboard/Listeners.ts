/**
 * The pages that are listening: each gets the same bytes, encoded once.
 *
 * Nothing here waits for a page. What one has not taken yet is kept for it up to a bound, then its connection is cut; a
 * browser that lives comes back by itself, and is told what it missed. https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { Sse } from "effect/encoding"
import type { ServerResponse } from "node:http"

/** 1 MiB a page and what is sent next, beside what the system buffers: many minutes of ticks. */
export const mostBuffered = 1024 * 1024

/** Pages at once; the next one is refused. */
export const mostListeners = 100

export interface Listeners {
  readonly size: () => number
  /** Listens until either side ends; false when there are too many. */
  readonly add: (response: ServerResponse) => boolean
  readonly send: (bytes: Uint8Array) => void
  /** Ends every stream; nobody can be added any more. */
  readonly close: () => void
}

export const make = (): Listeners => {
  const listening = new Set<ServerResponse>()
  let closed = false
  return {
    size: () => listening.size,
    add: (response) => {
      if (closed || listening.size >= mostListeners) return false
      listening.add(response)
      response.once("close", () => listening.delete(response))
      return true
    },
    send: (bytes) => {
      for (const response of listening) {
        if (response.writableLength > mostBuffered) response.destroy()
        else response.write(bytes)
      }
    },
    close: () => {
      closed = true
      for (const response of listening) response.end()
    },
  }
}

/** One event, encoded for all who listen. What is in `data` stands on one line, as JSON does. */
export const event = (name: string, data: unknown, id?: string): Uint8Array =>
  Buffer.from(Sse.encoder.write({ _tag: "Event", event: name, data: JSON.stringify(data), id }))
