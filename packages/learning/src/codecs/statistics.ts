import {
  type AnyFobsCodec,
  arrayData,
  defineEnum,
  EnumMember,
  type EnumType,
  type FobsCodec,
  type FobsValue,
  numberIn,
  shapeError,
  textData,
  textMapData,
} from '@hanse/fobs'

// The statistics types of fobs.md §10.7. Numbers keep the kind they came with, integer or float.

const SPEC = 'nvflare.app_common.abstract.statistics_spec.'
// The misspelling is part of the wire name.
const DECOMPOSERS = 'nvflare.app_common.statistics.statisitcs_objects_decomposer.'

/** How a histogram's bins were chosen; travels by value. */
export const histogramTypeEnum: EnumType<'STANDARD' | 'QUANTILES'> = defineEnum(
  `${SPEC}HistogramType`,
  { STANDARD: 0, QUANTILES: 1 },
  { byValue: { decomposer: `${DECOMPOSERS}HistogramTypeDecomposer` } },
)

/** What a feature's values are; travels by value. */
const featureTypeEnum = defineEnum(
  `${SPEC}DataType`,
  { INT: 0, FLOAT: 1, STRING: 2, BYTES: 3, STRUCT: 4, DATETIME: 5 },
  { byValue: { decomposer: `${DECOMPOSERS}DataTypeDecomposer` } },
)

/** A statistic that is asked for, with its configuration by feature (`*` for all). */
export class StatisticConfig {
  readonly name: string
  readonly config: ReadonlyMap<string, FobsValue>

  constructor(name: string, config: ReadonlyMap<string, FobsValue>) {
    this.name = name
    this.config = config
  }
}

/** A column of a data set. */
export class Feature {
  readonly name: string
  /** A member of `featureTypeEnum`. */
  readonly dataType: EnumMember

  constructor(name: string, dataType: EnumMember) {
    this.name = name
    this.dataType = dataType
  }
}

/** One bar of a histogram. */
export class Bin {
  readonly low: FobsValue
  readonly high: FobsValue
  readonly count: FobsValue

  constructor(low: FobsValue, high: FobsValue, count: FobsValue) {
    this.low = low
    this.high = high
    this.count = count
  }
}

/** The ends of a histogram. */
export class BinRange {
  readonly min: FobsValue
  readonly max: FobsValue

  constructor(min: FobsValue, max: FobsValue) {
    this.min = min
    this.max = max
  }
}

/** How the values of one feature are spread. */
export class Histogram {
  /** A member of `histogramTypeEnum`. */
  readonly type: EnumMember
  readonly bins: readonly Bin[]
  readonly name: string | null

  constructor(type: EnumMember, bins: readonly Bin[], name: string | null = null) {
    this.type = type
    this.bins = bins
    this.name = name
  }
}

const statisticConfigCodec: FobsCodec<StatisticConfig> = {
  ...names('StatisticConfig'),
  class: StatisticConfig,
  compose(data) {
    const [name, config] = fields('StatisticConfig', data, 2)
    return new StatisticConfig(
      textData(`${SPEC}StatisticConfig`, name),
      textMapData(`${SPEC}StatisticConfig`, config ?? null),
    )
  },
  decompose: ({ name, config }) => [name, config],
}

const featureCodec: FobsCodec<Feature> = {
  ...names('Feature'),
  class: Feature,
  compose(data) {
    const [name, type] = fields('Feature', data, 2)
    const dataType = featureTypeEnum.find(type)
    if (dataType === undefined) throw shapeError(`${SPEC}Feature`, 'a name and a data type')
    return new Feature(textData(`${SPEC}Feature`, name), dataType)
  },
  decompose: ({ name, dataType }) => [name, dataType],
}

const binCodec: FobsCodec<Bin> = {
  ...names('Bin'),
  class: Bin,
  compose(data) {
    const [low, high, count] = numbers('Bin', data, 3) as [FobsValue, FobsValue, FobsValue] // length checked
    return new Bin(low, high, count)
  },
  decompose: ({ low, high, count }) => [low, high, count],
}

const binRangeCodec: FobsCodec<BinRange> = {
  ...names('BinRange'),
  class: BinRange,
  compose(data) {
    const [min, max] = numbers('BinRange', data, 2) as [FobsValue, FobsValue] // length checked
    return new BinRange(min, max)
  },
  decompose: ({ min, max }) => [min, max],
}

const histogramCodec: FobsCodec<Histogram> = {
  ...names('Histogram'),
  class: Histogram,
  compose(data) {
    const [type, list, name] = fields('Histogram', data, 3)
    const histogramType = histogramTypeEnum.find(type)
    const bins = arrayData(`${SPEC}Histogram`, list ?? null)
    if (
      histogramType === undefined ||
      !bins.every((bin) => bin instanceof Bin) ||
      (name !== null && typeof name !== 'string')
    )
      throw shapeError(`${SPEC}Histogram`, 'a type, bins, and a name or null')
    return new Histogram(histogramType, bins, name)
  },
  decompose: ({ type, bins, name }) => [type, bins, name],
}

/** The seven types of statistics tasks, which travel in envelopes nested in a Shareable. */
export const statisticsCodecs: readonly AnyFobsCodec[] = Object.freeze([
  statisticConfigCodec,
  featureCodec,
  binCodec,
  binRangeCodec,
  histogramCodec,
  histogramTypeEnum.codec,
  featureTypeEnum.codec,
])

function names(type: string): { typeName: string; decomposer: string } {
  return { typeName: `${SPEC}${type}`, decomposer: `${DECOMPOSERS}${type}Decomposer` }
}

function fields(type: string, data: FobsValue, count: number): FobsValue[] {
  return arrayData(`${SPEC}${type}`, data, count)
}

function numbers(type: string, data: FobsValue, count: number): FobsValue[] {
  const values = fields(type, data, count)
  for (const value of values)
    if (numberIn(value) === undefined && typeof value !== 'bigint' && !isWrappedNumber(value))
      throw shapeError(`${SPEC}${type}`, `${count} numbers`)
  return values
}

/** A NumPy scalar: what stock's statistics of data frames are made of. */
function isWrappedNumber(value: FobsValue): boolean {
  return (
    typeof value === 'object' &&
    value !== null &&
    !(value instanceof EnumMember) &&
    'value' in value &&
    (typeof value.value === 'number' || typeof value.value === 'bigint')
  )
}
