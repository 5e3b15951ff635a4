import type { JsonObject } from '@hanse/contract'
import type { StatisticsWriter } from '../components/contracts.ts'
import type { RunContext } from '../components/run-context.ts'

/** Writes federated statistics as one JSON file in the run's folder. */
export class JsonStatsFileWriter implements StatisticsWriter {
  readonly #path: string
  readonly #context: Pick<RunContext, 'files'>

  constructor(path: string, context: Pick<RunContext, 'files'>) {
    this.#path = path
    this.#context = context
  }

  async saveStatistics(report: JsonObject): Promise<void> {
    const text = JSON.stringify(report)
    await this.#context.files.write(this.#path, [new TextEncoder().encode(text)])
  }
}
