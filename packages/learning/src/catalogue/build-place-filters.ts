import { hasCode, type JsonObject } from '@hanse/contract'
import { z } from 'zod'
import { isFilter } from '../components/guards.ts'
import type { PlaceFilter } from '../filters/place-filter-chain.ts'
import { LearningError } from '../learning-error.ts'
import type { BuildContext, Catalogue } from './catalogue.ts'
import { findComponent, parseArgs, readComponentConfig } from './component-config.ts'

/** A filter that a place demands, as its admin wrote it. */
export interface PlaceFilterConfig {
  /** For messages: the place in the admin's file. */
  readonly where: string
  readonly payload: 'data' | 'result'
  /** `path` or `name`, and `args`, as in a job's config. */
  readonly component: JsonObject
}

/** Schema of a {@link PlaceFilterConfig}, for places that hand them to the processes of their jobs. */
export const placeFilterSchema: z.ZodType<PlaceFilterConfig> = z.strictObject({
  where: z.string(),
  payload: z.enum(['data', 'result']),
  component: z.record(z.string(), z.json()),
})

/** Filters that were made, in their order. */
export interface PlaceFilterLists {
  readonly data: readonly PlaceFilter[]
  readonly result: readonly PlaceFilter[]
}

/**
 * Makes the filters that a place demands.
 * @throws {LearningError} `ERR_COMPONENT_…`, `ERR_APP_CONFIG`: names the place in the file, and for a filter that there
 * is not those that there are
 */
export function buildPlaceFilters(
  configs: readonly PlaceFilterConfig[],
  { catalogue, context }: { readonly catalogue: Catalogue; readonly context: BuildContext },
): PlaceFilterLists {
  const make = (config: PlaceFilterConfig): PlaceFilter => {
    const { where } = config
    const component = readComponentConfig(config.component, where)
    const entry = findFilter(catalogue, component, context.side, where)
    const filter = entry.create(parseArgs(entry, component.args, where), context)
    if (!isFilter(filter))
      throw new LearningError('ERR_COMPONENT_SIDE', `${where}: what was made is no filter`)
    return { name: entry.path.slice(entry.path.lastIndexOf('.') + 1), filter }
  }
  const listOf = (payload: PlaceFilterConfig['payload']) =>
    configs.filter((config) => config.payload === payload).map(make)
  return { data: listOf('data'), result: listOf('result') }
}

function findFilter(
  catalogue: Catalogue,
  component: ReturnType<typeof readComponentConfig>,
  side: BuildContext['side'],
  where: string,
) {
  try {
    return findComponent(catalogue, component, side, ['filter'], where)
  } catch (cause) {
    if (!hasCode(cause, 'ERR_COMPONENT_UNKNOWN')) throw cause
    const { reference } = component
    const offered = catalogue.entries
      .filter((entry) => entry.kind === 'filter' && (entry.side === 'both' || entry.side === side))
      .map(({ path }) => path)
    throw new LearningError(
      'ERR_COMPONENT_UNKNOWN',
      `${where}: Hanse has no filter "${'path' in reference ? reference.path : reference.name}"; it has ${offered.join(', ')}`,
      {},
      { cause },
    )
  }
}
