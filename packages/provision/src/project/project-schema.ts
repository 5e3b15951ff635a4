import { z } from 'zod'
import { SCHEMES } from './project.ts'

const said = 'letters, digits and _ are allowed, at most 64'
const simpleName = z.string().regex(/^[A-Za-z0-9_]{1,64}$/, said)

const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/
const hostName = z
  .string()
  .max(255, 'a host name has at most 255 characters')
  .regex(HOST, 'a host name or IPv4 address is allowed')

const port = z.int('a whole number from 1 to 65535 is allowed').min(1).max(65_535)

/** Case does not matter in stock; it is written in lower case everywhere. */
const connectionSecurity = z
  .string()
  .transform((text) => text.toLowerCase())
  .pipe(z.enum(['mtls', 'tls', 'clear'], 'mtls, tls or clear is allowed'))

const customCaCert = z.string().min(1).max(4096)

const connectTo = z.union(
  [
    hostName.transform((host) => ({ host })),
    z.strictObject({
      name: z.string().optional(),
      host: hostName.optional(),
      port: port.optional(),
    }),
  ],
  'a host name of at most 255 characters, or a mapping with host and port, is allowed',
)

const server = z.strictObject({
  type: z.literal('server'),
  name: hostName.max(
    63,
    'a server name has at most 63 characters; use default_host and host_names for longer addresses',
  ),
  org: simpleName,
  fed_learn_port: port.default(8002),
  admin_port: port.optional(),
  host_names: z.union([hostName.transform((host) => [host]), z.array(hostName)]).default([]),
  default_host: hostName.optional(),
  connection_security: connectionSecurity.optional(),
  custom_ca_cert: customCaCert.optional(),
})

/** Would be taken for another cell or role. */
const RESERVED = new Set(['server', 'server_job', 'super', 'default', 'admin', 'all', 'na'])

const client = z.strictObject({
  type: z.literal('client'),
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/,
      'letters, digits, - and _ are allowed, at most 64, starting with a letter or digit',
    )
    .refine((name) => !RESERVED.has(name.toLowerCase()), 'this name is reserved'),
  org: simpleName,
  connect_to: connectTo.optional(),
  connection_security: connectionSecurity.optional(),
  custom_ca_cert: customCaCert.optional(),
  allow_log_streaming: z.boolean().optional(),
  capacity: z
    .strictObject({
      num_of_gpus: z.int().min(0).max(1_000_000).default(0),
      mem_per_gpu_in_GiB: z.number().min(0).max(1_000_000).default(0),
    })
    .default({ num_of_gpus: 0, mem_per_gpu_in_GiB: 0 }),
})

const admin = z.strictObject({
  type: z.literal('admin'),
  name: z
    .string()
    .max(64, 'at most 64 characters fit into a certificate')
    .regex(/^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$/, 'an e-mail address is allowed')
    .refine((name) => !/^[.-]|\.\./.test(name), 'it must not start with . or - or have ..'),
  org: simpleName,
  role: simpleName.refine(
    (role) => role.toLowerCase() !== 'super',
    'the role "super" would override every site\'s policy; project_admin, org_admin, lead or member is meant',
  ),
  connect_to: connectTo.optional(),
  connection_security: connectionSecurity.optional(),
  custom_ca_cert: customCaCert.optional(),
})

const LIGHTER = 'nvflare.lighter.impl.'
const noArgs = z.strictObject({}).nullish()

const builder = z.discriminatedUnion('path', [
  z.strictObject({
    path: z.literal(`${LIGHTER}workspace.WorkspaceBuilder`),
    args: z.strictObject({ template_file: z.unknown() }).partial().nullish(),
  }),
  z.strictObject({ path: z.literal(`${LIGHTER}template.TemplateBuilder`), args: noArgs }),
  z.strictObject({ path: z.literal(`${LIGHTER}signature.SignatureBuilder`), args: noArgs }),
  z.strictObject({
    path: z.literal(`${LIGHTER}cert.CertBuilder`),
    args: z.strictObject({ root_valid_days: z.int().min(1).max(36_500).optional() }).nullish(),
  }),
  z.strictObject({
    path: z.literal(`${LIGHTER}static_file.StaticFileBuilder`),
    args: z
      .strictObject({
        config_folder: z.string().optional(),
        scheme: z
          .enum(
            SCHEMES,
            `${SCHEMES.join(', ')} are in this version; stock sites and servers speak them too`,
          )
          .optional(),
        require_signed_jobs: z.boolean().optional(),
        overseer_agent: z.unknown().optional(),
        docker_image: z.literal('').optional(),
      })
      .nullish(),
  }),
])

const study = z
  .strictObject({
    site_orgs: z.record(z.string(), z.array(z.string())).default({}),
    admins: z.array(z.string()).default([]),
  })
  .nullable()

/** Shape of the project file; rules between participants are checked after it (`resolveProject`). */
export const projectSchema = z.strictObject({
  api_version: z.union([z.literal(3), z.literal(4)], '3 or 4 is allowed'),
  name: z
    .string()
    .regex(
      /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/,
      'letters, digits, ., - and _ are allowed, at most 63, starting with a letter or digit',
    ),
  description: z.string().max(1000).default(''),
  connection_security: connectionSecurity.optional(),
  custom_ca_cert: customCaCert.optional(),
  allow_log_streaming: z.boolean().optional(),
  participants: z
    .array(z.discriminatedUnion('type', [server, client, admin]))
    .min(1)
    .max(10_000),
  builders: z.array(builder).max(50).optional(),
  studies: z.record(z.string().regex(/^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$/), study).optional(),
})

/** The project file after its shape was checked. */
export type ProjectFile = z.infer<typeof projectSchema>
