import { type Cell, type Connector, createCell, type LinkPolicy } from '@hanse/cellnet'
import type { LinkSecurity } from '@hanse/contract'
import { coreCodecs, createFobsRegistry, type FobsRegistry } from '@hanse/fobs'
import { MemoryNetwork } from '../../cellnet/test/memory-driver.ts'
import { adminCodecs, platformCodecs } from '../src/messages/message-codecs.ts'

const SERVER_URL = new URL('memory://server:1')
const CLEAR: LinkSecurity = { mode: 'clear' }

/** The cell `server` and others linked to it, within the process. */
export class LinkedCells implements AsyncDisposable {
  readonly network = new MemoryNetwork()
  readonly server: Cell
  readonly #registry: FobsRegistry
  readonly #cells: Cell[] = []

  private constructor(registry: FobsRegistry) {
    this.#registry = registry
    this.server = this.cell('server')
  }

  static async open(
    registry: FobsRegistry = createFobsRegistry(coreCodecs, platformCodecs, adminCodecs),
    policy: Pick<LinkPolicy, 'proofs'> = {},
  ): Promise<LinkedCells> {
    const cells = new LinkedCells(registry)
    await cells.listen(policy)
    return cells
  }

  async listen(policy: Pick<LinkPolicy, 'proofs'> = {}): Promise<void> {
    await this.server.listen(SERVER_URL, CLEAR, { adminNames: true, ...policy })
  }

  /** A cell without a link. */
  cell(name: string, claims: Parameters<MemoryNetwork['driver']>[0] = {}, ownName = name): Cell {
    const cell = createCell(
      name,
      { drivers: [this.network.driver(claims)], registry: this.#registry },
      { closeTimeoutMs: 20, stockPeerHoldMs: 0, ownName },
    )
    this.#cells.push(cell)
    return cell
  }

  /** A cell whose link to the server is up. */
  async linked(name: string): Promise<Cell> {
    const cell = this.cell(name)
    await this.link(cell)
    return cell
  }

  async link(cell: Cell, policy: Pick<LinkPolicy, 'proofs'> = {}): Promise<Connector> {
    const connector = cell.dial(SERVER_URL, CLEAR, policy)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    connector.on('connected', () => resolve())
    connector.on('refused', ({ reason }) => reject(new Error(reason)))
    await promise
    return connector
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cell of this.#cells.splice(0).reverse()) await cell[Symbol.asyncDispose]()
  }
}
