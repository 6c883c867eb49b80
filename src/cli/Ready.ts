/**
 * Tells systemd that the service is ready, where it asks for that (`Type=notify`, `NotifyAccess=all`): through its own program, because
 * Node has no datagram sockets of Unix. https://www.freedesktop.org/software/systemd/man/systemd-notify.html
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Effect } from "effect"
import { ChildProcess } from "effect/process"
import { CommandError } from "./CommandError.ts"

/** Does nothing elsewhere. What cannot be told is a WARNING: systemd ends what it takes for not started. */
export const say: Effect.Effect<void> = Effect.suspend(() =>
  process.env["NOTIFY_SOCKET"] === undefined
    ? Effect.void
    : Effect.scoped(
        Effect.flatMap(
          ChildProcess.make("systemd-notify", ["--ready"], { stdin: "ignore" }),
          ({ exitCode }) => exitCode,
        ),
      ).pipe(
        Effect.flatMap((code) =>
          code === 0 ? Effect.void : new CommandError({ detail: `systemd-notify ended with ${code}` }),
        ),
        Effect.ignore({ log: "Warn", message: "readiness not sent" }),
        Effect.provide(NodeServices.layer),
      ),
)
