import { fileURLToPath } from 'node:url'
import { freePort } from '../../test/support/free-port.ts'
import { type League, SERVER } from '../../test/support/league.ts'
import { JsonProcess } from '../harness/json-process.ts'
import { type StockInstallation, stockEnvironment } from '../stock/stock-installation.ts'

const HANSE = fileURLToPath(new URL('hanse-cells.ts', import.meta.url))
const BARE_TLS = fileURLToPath(new URL('bare-tls.ts', import.meta.url))
const STOCK = fileURLToPath(new URL('../stock/stock_cells.py', import.meta.url))

/** Something that can be measured from its client's side. */
export interface Command {
  readonly measure: 'requests' | 'blob' | 'download' | 'round' | 'hold'
  readonly [argument: string]: unknown
}

/** A server and a client, each a process, that speak over mutual TLS with the kits of one league. */
export class CellPair implements AsyncDisposable {
  readonly #server: JsonProcess
  readonly #client: JsonProcess

  private constructor(server: JsonProcess, client: JsonProcess) {
    this.#server = server
    this.#client = client
  }

  /** @param proofs what the code on each message covers; none without it */
  static hanse(league: League, proofs?: 'headers' | 'all'): Promise<CellPair> {
    return CellPair.#node(HANSE, league, proofs === undefined ? [] : [proofs])
  }

  /** Two sockets and nothing else. */
  static bareTls(league: League): Promise<CellPair> {
    return CellPair.#node(BARE_TLS, league)
  }

  static async stock(stock: StockInstallation, league: League): Promise<CellPair> {
    const port = String(await freePort())
    const env = stockEnvironment(stock, league.folder)
    const start = (role: string, place: string) =>
      JsonProcess.start(stock.python, [STOCK, role, league.kit(place), port], { env })
    const server = start('serve', SERVER)
    try {
      await server.next()
      return await CellPair.#ready(server, start('measure', 'site-1'))
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  static async #node(
    file: string,
    league: League,
    more: readonly string[] = [],
  ): Promise<CellPair> {
    const server = JsonProcess.startNode(file, ['serve', league.kit(SERVER), ...more])
    try {
      const { port } = await server.next<{ port: number }>()
      const client = JsonProcess.startNode(file, [
        'measure',
        league.kit('site-1'),
        String(port),
        ...more,
      ])
      return await CellPair.#ready(server, client)
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
  }

  static async #ready(server: JsonProcess, client: JsonProcess): Promise<CellPair> {
    try {
      await client.next()
      return new CellPair(server, client)
    } catch (error) {
      await client[Symbol.asyncDispose]()
      throw error
    }
  }

  get pids(): readonly number[] {
    return [this.#server.pid, this.#client.pid]
  }

  get serverPid(): number {
    return this.#server.pid
  }

  /** What the client measured. @throws when the answers it got were wrong */
  async measure<Answer extends object>(command: Command): Promise<Answer> {
    this.#client.say(command)
    const answer = await this.#client.next<Answer & { readonly right: boolean }>()
    if (!answer.right) throw new Error(`wrong result: ${JSON.stringify({ command, answer })}`)
    return answer
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]()
    await this.#server[Symbol.asyncDispose]()
  }
}

/** Measures the same with one pair after the other, so that none disturbs another. */
export async function withEachPair<Result>(
  league: League,
  stock: StockInstallation | undefined,
  measure: (pair: CellPair, kind: 'hanse' | 'stock' | 'bare') => Promise<Result>,
): Promise<{ readonly hanse: Result; readonly stock: Result | undefined; readonly bare: Result }> {
  const once = async (kind: 'hanse' | 'stock' | 'bare', open: Promise<CellPair>) => {
    await using pair = await open
    return await measure(pair, kind)
  }
  return {
    hanse: await once('hanse', CellPair.hanse(league)),
    stock: stock && (await once('stock', CellPair.stock(stock, league))),
    bare: await once('bare', CellPair.bareTls(league)),
  }
}
