/** What a number of requests took, with so many under way at a time. */
export interface RequestTimes {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Every answer was the expected one. */
  readonly right: boolean
}

/** Sends requests, always `outstanding` at a time. `send` says whether its answer was right. */
export async function latencies(
  { outstanding, requests }: { readonly outstanding: number; readonly requests: number },
  send: () => Promise<boolean>,
): Promise<RequestTimes> {
  const each = Math.floor(requests / outstanding)
  const times: number[] = []
  let right = true
  const work = async () => {
    for (let i = 0; i < each; i++) {
      const start = performance.now()
      if (!(await send())) right = false
      times.push(performance.now() - start)
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: outstanding }, work))
  const seconds = (performance.now() - start) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(share * times.length))]!
  return { perSecond: times.length / seconds, p50Ms: at(0.5), p99Ms: at(0.99), right }
}
