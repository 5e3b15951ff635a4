import type { Clock, Driver, Logger } from '@hanse/contract'
import type { Kit } from '@hanse/provision/kit'

interface DriverComponents {
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * The driver for the scheme of a kit, or all where the scheme is not known here; they go through the proxy that the
 * kit's place names, if it names one.
 */
export async function driversFor(
  { server, hanse }: Pick<Kit, 'server' | 'hanse'>,
  components: DriverComponents,
): Promise<readonly Driver[]> {
  const options = { ...components, proxy: hanse.outboundProxy?.url }
  const tcp = async (): Promise<Driver> => (await import('@hanse/driver-tcp')).tcp(options)
  const http = async (): Promise<Driver> => (await import('@hanse/driver-http')).http(options)
  const grpc = async (): Promise<Driver> => (await import('@hanse/driver-grpc')).grpc(options)
  if (/^s?a?tcp$/.test(server.scheme)) return [await tcp()]
  if (/^https?$/.test(server.scheme)) return [await http()]
  return Promise.all([tcp(), http(), grpc()])
}
