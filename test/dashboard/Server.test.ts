import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as http from "node:http"
import type * as net from "node:net"
import { goOnListening } from "../../src/dashboard/Server.ts"
import * as LogCapture from "../../src/testing/LogCapture.ts"

const cannotAccept = Object.assign(new Error("accept EMFILE"), { code: "EMFILE" })

const listening = Effect.acquireRelease(
  Effect.callback<http.Server>((resume) => {
    const server = http.createServer((_, response) => response.end("here"))
    server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    }),
)

const ask = (server: http.Server) =>
  Effect.callback<string>((resume) => {
    const { port } = server.address() as net.AddressInfo
    http
      .get({ port, host: "127.0.0.1", agent: false }, (answer) => {
        answer.setEncoding("utf8").once("data", (text: string) => resume(Effect.succeed(text)))
      })
      .on("error", (error) => resume(Effect.die(error)))
  })

describe("a server that cannot accept a connection", () => {
  it.effect("says so, and goes on listening", () =>
    Effect.gen(function* () {
      const server = yield* listening
      yield* goOnListening(server)
      server.emit("error", cannotAccept)
      yield* TestClock.adjust(0)
      expect((yield* LogCapture.logged("dashboard cannot accept")).map(({ fields, level }) => [level, fields])).toEqual(
        [["Warn", { error: "accept EMFILE", failures: 1 }]],
      )
      expect(yield* ask(server)).toBe("here")
    }).pipe(Effect.provide(LogCapture.layer)),
  )

  it.effect("says so once a minute, however often it happens", () =>
    Effect.gen(function* () {
      const server = yield* listening
      yield* goOnListening(server)
      for (let second = 0; second <= 120; second++) {
        for (let n = 0; n < 10; n++) server.emit("error", cannotAccept)
        yield* TestClock.adjust("1 second")
      }
      const lines = yield* LogCapture.logged("dashboard cannot accept")
      expect(lines.map(({ fields }) => fields["failures"])).toEqual([1, 601, 1201])
    }).pipe(Effect.provide(LogCapture.layer)),
  )
})
