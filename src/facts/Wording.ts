/** How sizes and counts are written in what an operator reads. */
import { ByteSize } from "effect"

/** Such as "498.9 KiB". */
export const size = (bytes: number): string => ByteSize.format(ByteSize.bytes(Math.ceil(bytes)), { precision: 1 })

export const count = (n: number, one: string, more = `${one}s`) => `${n} ${n === 1 ? one : more}`
