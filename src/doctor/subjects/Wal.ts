/** The WAL frame by frame: what a recovery would keep, and where it is torn. Beside its users the index says more. */
import { Effect, Option } from "effect"
import { isOpen, valid } from "../../facts/Facts.ts"
import { count } from "../../facts/Format.ts"
import * as WalIndex from "../../sqlite/outside/WalIndex.ts"
import { make } from "../Examination.ts"
import * as WalDamage from "../WalDamage.ts"

export const wal = make({
  subject: "wal",
  description: "the WAL frame by frame: what a recovery would keep, and where it is torn",
  examine: Effect.fnUntraced(function* (facts) {
    const parsed = yield* Effect.fromResult(facts.wal)
    const damage = WalDamage.find(facts)
    const keeps = Option.match(parsed, {
      onNone: () => "there is none",
      onSome: ({ commits, end, recoverableFrames }) =>
        end.reason === "Empty"
          ? "it is empty"
          : `a recovery keeps ${count(commits, "commit")} (${count(recoverableFrames, "frame")}); end: ${end.reason}`,
    })
    const beside = Option.match(isOpen(facts) ? valid(facts.index) : Option.none(), {
      onNone: () => "",
      onSome: (index) =>
        `; in use: ${count(index.mxFrame, "frame")}, ${WalIndex.framesNotCheckpointed(index)} not checkpointed`,
    })
    return {
      seen: keeps + beside,
      findings: Option.toArray(damage).map(({ evidence, message, severity }) => ({
        severity,
        message,
        evidence,
        remedy: WalDamage.remedy(facts),
      })),
    }
  }),
})
