/**
 * A machine of its own, as far as the network goes, beside this one and joined to it by one cable, until the scope closes: whatever
 * still runs there is killed then, and nothing is left when this process is killed either. Only root may have one.
 *
 * A cut is real, and silent: each side goes on to send, to an address that no side has. Nothing is refused, no link goes down,
 * no route is lost, and nothing is acknowledged. The system sends again what was lost, later and later, so that a connection
 * goes on some time after it heals.
 */
import { Effect, type Scope } from "effect"
import { spawnSync } from "node:child_process"
import * as Keeper from "./Keeper.ts"

export interface NetworkNamespace {
  /** A command that runs a command there, as the same process. */
  readonly under: ReadonlyArray<string>
  /** The address of this machine as seen from there. A server must listen on it. */
  readonly outside: string
  /** The address there. */
  readonly inside: string
  readonly cut: Effect.Effect<void>
  readonly heal: Effect.Effect<void>
}

/** Whether one can be made here. */
const isPossible = () => {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false
  const name = `seawall-try-${process.pid}`
  const [made, removed] = ["add", "del"].map((what) => spawnSync("ip", ["netns", what, name]).status === 0)
  return made === true && removed === true
}

/** Why there is none; undefined when there is one. */
export const missing = isPossible() ? undefined : "needs network namespaces: Linux, root, apt-get install iproute2"

/** Its parts, by the number that its name has: no two can have the same. */
const plan = (number: number) => {
  // Networks of four addresses in 198.18.0.0/15, which is for tests: https://www.rfc-editor.org/rfc/rfc2544#appendix-C.2.2
  const address = (last: number) => {
    const offset = number * 4 + last
    return `198.${18 + (offset >> 16)}.${(offset >> 8) & 255}.${offset & 255}`
  }
  return { name: `seawall-${number}`, cable: `seawall${number}`, outside: address(1), inside: address(2) }
}
const networks = 2 ** 15

/** Addresses on the cable, set by hand, so that nothing is asked for that a cut would leave without an answer. */
const mac = { outside: "02:53:45:41:00:01", inside: "02:53:45:41:00:02", nowhere: "02:53:45:41:00:03" }

/** Tries to make one; fails when the name is taken. */
const attempt = Effect.fnUntraced(function* (number: number) {
  const { cable, inside, name, outside } = plan(number)
  const atEnd = `[ -e made ] && { kill -KILL $(ip netns pids ${name}); ip link del ${cable}; ip netns del ${name}; }`
  const { run } = yield* Keeper.make({ name: "seawall-network", atEnd })
  const said = yield* run(`ip netns add ${name} && touch made || ip netns list`)
  if (said !== "") return undefined
  const neighbours = (ofOutside: string, ofInside: string) =>
    Effect.asVoid(
      run(
        `ip -n ${name} neigh replace ${outside} lladdr ${ofOutside} dev eth0 nud permanent &&
         ip neigh replace ${inside} lladdr ${ofInside} dev ${cable} nud permanent`.replace("\n", " "),
      ),
    )
  const heal = neighbours(mac.outside, mac.inside)
  yield* run(
    [
      `ip link add ${cable} address ${mac.outside} type veth peer name eth0 address ${mac.inside} netns ${name}`,
      `ip addr add ${outside}/30 dev ${cable}`,
      `ip link set ${cable} up`,
      `ip -n ${name} addr add ${inside}/30 dev eth0`,
      `ip -n ${name} link set eth0 up`,
      `ip -n ${name} link set lo up`,
    ].join(" && "),
  )
  yield* heal
  return {
    under: ["ip", "netns", "exec", name],
    outside,
    inside,
    cut: neighbours(mac.nowhere, mac.nowhere),
    heal,
  } satisfies NetworkNamespace
})

/** Where `missing` is undefined. */
export const make: Effect.Effect<NetworkNamespace, never, Scope.Scope> = Effect.gen(function* () {
  for (;;) {
    const made = yield* attempt(Math.floor(Math.random() * networks))
    if (made !== undefined) return made
  }
})
