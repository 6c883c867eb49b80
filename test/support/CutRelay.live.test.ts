import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { setTimeout } from "node:timers/promises"
import * as CutRelay from "./CutRelay.ts"
import * as Echo from "./Echo.ts"
import { onPostgres } from "./onPostgres.ts"

/** As long as many answers take that come by another way. */
const manyAnswers = Effect.gen(function* () {
  const { port } = yield* Echo.server()
  const client = yield* Echo.client(port)
  for (let n = 0; n < 200; n++) {
    client.send(`${n};`)
    yield* client.gets(`${n};`)
  }
}).pipe(Effect.scoped)

const relayed = Effect.gen(function* () {
  const echo = yield* Echo.server()
  const relay = yield* CutRelay.make({ port: echo.port })
  return { echo, relay }
})

describe("a relay", () => {
  it.live("delivers in both directions, and an end", () =>
    Effect.gen(function* () {
      const { echo, relay } = yield* relayed
      const client = yield* Echo.client(relay.port)
      const much = "x".repeat(1_000_000)
      client.send(`${much};a`)
      client.end()
      yield* client.closes
      expect(client.got()).toBe(`${much};a`)
      expect(echo.seen.at(-1)).toBe("end")
    }).pipe(Effect.scoped),
  )

  it.live("holds back what is sent while it is cut, either way, and delivers it when it heals", () =>
    Effect.gen(function* () {
      const { echo, relay } = yield* relayed
      const client = yield* Echo.client(relay.port)
      client.send("a")
      yield* client.gets("a")
      yield* relay.cut
      client.send("b")
      const [far] = echo.sockets
      far?.write("from the server")
      yield* manyAnswers
      expect([echo.seen, client.got(), client.isClosed()]).toEqual([["a"], "a", false])
      yield* relay.heal
      yield* client.gets("b")
      yield* client.gets("from the server")
      expect(echo.seen).toEqual(["a", "b"])
    }).pipe(Effect.scoped),
  )

  it.live("takes a connection while it is cut, which leads nowhere until it heals", () =>
    Effect.gen(function* () {
      const { echo, relay } = yield* relayed
      yield* relay.cut
      const client = yield* Echo.client(relay.port)
      client.send("a")
      yield* manyAnswers
      expect([echo.seen, echo.sockets.size, client.isClosed()]).toEqual([[], 0, false])
      yield* relay.heal
      yield* client.gets("a")
    }).pipe(Effect.scoped),
  )

  it.live("holds back that one side has gone", () =>
    Effect.gen(function* () {
      const { echo, relay } = yield* relayed
      const answered = Effect.fnUntraced(function* () {
        const client = yield* Echo.client(relay.port)
        client.send("a")
        yield* client.gets("a")
        return client
      })
      const ending = yield* answered()
      const vanishing = yield* answered()
      const left = yield* answered()
      const [, , last] = echo.sockets
      yield* relay.cut
      ending.end()
      vanishing.socket.resetAndDestroy()
      last?.destroy()
      yield* manyAnswers
      expect([echo.seen, echo.sockets.size, left.isClosed()]).toEqual([["a", "a", "a"], 2, false])
      yield* relay.heal
      yield* Effect.all([ending.closes, left.closes])
      while (echo.sockets.size > 0) yield* Effect.promise(() => setTimeout(1))
    }).pipe(Effect.scoped),
  )

  it.live("leads a connection nowhere that came and went while it was cut", () =>
    Effect.gen(function* () {
      const { echo, relay } = yield* relayed
      yield* relay.cut
      const client = yield* Echo.client(relay.port)
      client.send("a")
      client.end()
      yield* manyAnswers
      yield* relay.heal
      yield* client.closes
      yield* manyAnswers
      expect([echo.seen, echo.sockets.size]).toEqual([[], 0])
    }).pipe(Effect.scoped),
  )

  it.live("can be cut and healed again and again", () =>
    Effect.gen(function* () {
      const { relay } = yield* relayed
      const client = yield* Echo.client(relay.port)
      for (let round = 0; round < 20; round++) {
        yield* relay.cut
        client.send(`${round};`)
        yield* relay.heal
        yield* client.gets(`${round};`)
      }
      expect(client.got()).toBe(Array.from({ length: 20 }, (_, round) => `${round};`).join(""))
    }).pipe(Effect.scoped),
  )

  it.live("closes with connections that are cut", () =>
    Effect.gen(function* () {
      const echo = yield* Echo.server()
      const client = yield* Effect.scoped(
        Effect.gen(function* () {
          const relay = yield* CutRelay.make({ port: echo.port })
          const client = yield* Echo.client(relay.port)
          yield* relay.cut
          return client
        }),
      )
      expect(client.socket.destroyed).toBe(true)
    }).pipe(Effect.scoped),
  )
})

onPostgres("a relay to PostgreSQL", (server) => {
  it.live("leaves a statement without an answer while it is cut", () =>
    Effect.gen(function* () {
      const { sql, url } = server()
      const { hostname, port } = new URL(url())
      const relay = yield* CutRelay.make({ host: hostname, port: Number(port || "5432") })
      const through = { host: "127.0.0.1", port: relay.port }
      expect(yield* sql("SELECT 1 AS a", [], through)).toEqual([{ a: 1 }])
      yield* relay.cut
      const asked = yield* Effect.forkChild(sql("SELECT 2 AS a", [], through))
      for (let n = 0; n < 20; n++) yield* sql("SELECT 1")
      expect(asked.pollUnsafe()).toBeUndefined()
      yield* relay.heal
      expect(yield* Fiber.join(asked)).toEqual([{ a: 2 }])
    }).pipe(Effect.scoped),
  )
})
