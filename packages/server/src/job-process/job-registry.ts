import { coreCodecs, createFobsRegistry, type FobsRegistry } from '@hanse/fobs'
import { edgeCodecs, learningCodecs } from '@hanse/learning'
import { platformCodecs } from '@hanse/session'

/** Types that a server's job may receive from its sites (`spec/fobs.md` §9.5). */
export function serverJobRegistry(): FobsRegistry {
  return createFobsRegistry(coreCodecs, platformCodecs, learningCodecs, edgeCodecs)
}
