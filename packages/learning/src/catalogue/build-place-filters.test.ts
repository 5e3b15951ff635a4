import { silentLogger } from '@hanse/contract'
import { Shareable } from '@hanse/session'
import { describe, expect, it } from 'vitest'
import { LearningError } from '../learning-error.ts'
import {
  buildPlaceFilters,
  type PlaceFilterConfig,
  placeFilterSchema,
} from './build-place-filters.ts'
import { type BuildContext, createCatalogue } from './catalogue.ts'
import { standardComponents } from './standard-components.ts'

const catalogue = createCatalogue(standardComponents())
const FILTERS = 'nvflare.app_common.filters'
const log = silentLogger
const SITE: BuildContext = {
  side: 'client',
  site: { siteName: 'site-1', jobId: 'j', log },
  log,
}
const SERVER: BuildContext = { side: 'server', log }
const config = (
  component: PlaceFilterConfig['component'],
  payload: PlaceFilterConfig['payload'] = 'result',
): PlaceFilterConfig => ({ where: 'scopes[0].task_result_filters[3]', payload, component })
const build = (one: PlaceFilterConfig, context: BuildContext = SITE) =>
  buildPlaceFilters([one], { catalogue, context })

describe('filters of a place', () => {
  it('are made in their order, by path or by name, at both sides', () => {
    const configs = [
      config({ path: `${FILTERS}.exclude_vars.ExcludeVars`, args: { exclude_vars: ['a'] } }),
      config({ name: 'DXOBlocker', args: { data_kinds: ['WEIGHTS'] } }, 'data'),
      config({ name: 'PercentilePrivacy' }),
    ]
    for (const context of [SITE, SERVER]) {
      const { data, result } = buildPlaceFilters(configs, { catalogue, context })
      expect(data.map(({ name }) => name)).toEqual(['DXOBlocker'])
      expect(result.map(({ name }) => name)).toEqual(['ExcludeVars', 'PercentilePrivacy'])
      expect(result[0]!.filter.process(new Shareable(), {} as never)).toBeInstanceOf(Shareable)
    }
  })

  it.each<[string, PlaceFilterConfig['component'], BuildContext, RegExp]>([
    [
      'is not there, with those that are',
      { path: 'x.y.GaussianPrivacy' },
      SITE,
      /no filter "x\.y\.GaussianPrivacy"; it has .*PercentilePrivacy.*SVTPrivacy/,
    ],
    ['has a simple name that is not there', { name: 'AddNoiseToMinMax' }, SITE, /AddNoiseToMinMax/],
    ['is no filter', { name: 'ClientAPIExecutor' }, SITE, /is a executor, not a filter/],
    ['is for sites only', { name: 'ConvertWeights', args: {} }, SERVER, /works at a client/],
    [
      'has an argument that it does not know',
      { name: 'PercentilePrivacy', args: { percent: 1 } },
      SITE,
      /percent/,
    ],
    [
      'has a number that would switch it off in stock',
      { name: 'PercentilePrivacy', args: { gamma: 0 } },
      SITE,
      /gamma/,
    ],
    [
      'finds out only when it is made that its arguments do not fit',
      { name: 'SVTPrivacy', args: { epsilon: 1, epsilon_query: 2 } },
      SITE,
      /sum epsilon/,
    ],
  ])('are refused when one %s', (_what, component, context, words) => {
    const attempt = () => build(config(component), context)
    expect(attempt).toThrow(LearningError)
    expect(attempt).toThrow(words)
  })

  it('are refused by the place in the file', () => {
    expect(() => build(config({ name: 'Nothing' }))).toThrow(
      /^scopes\[0\]\.task_result_filters\[3\]/,
    )
  })

  it('survive being written down for the process of a job', () => {
    const one = config({ name: 'PercentilePrivacy', args: { gamma: 0.5 } })
    expect(placeFilterSchema.parse(JSON.parse(JSON.stringify(one)))).toEqual(one)
  })
})
