import { z } from 'zod'

/** Which stock components a job without code of its own may name (`spec/policies.md` §3.2). */
export interface ComponentPolicy {
  readonly mode: 'enforce' | 'warn'
  /** `undefined`: the file has no list. */
  readonly allowed: readonly string[] | undefined
}

export interface ServerSettings {
  readonly maxSites: number
  /** Silence after which a site counts as gone. */
  readonly heartbeatTimeoutSeconds: number
  /** From a site's death report until jobs give it up. */
  readonly deadClientGraceSeconds: number
  /** Life of a login challenge. */
  readonly maxRegistrationSeconds: number
  readonly adminTimeoutSeconds: number
  readonly maxJobs: number
  readonly requireSignedJobs: boolean | undefined
  readonly componentPolicy: ComponentPolicy
}

export interface SiteSettings {
  readonly allowLogStreaming: boolean
  readonly retryTimeoutSeconds: number
  readonly gpus: number
  readonly gpuMemoryGib: number
  /** Life of a resource reservation. */
  readonly reservationSeconds: number
  readonly requireSignedJobs: boolean | undefined
  readonly componentPolicy: ComponentPolicy
}

export interface AdminSettings {
  readonly idleTimeoutSeconds: number
  readonly loginTimeoutSeconds: number
  readonly authenticateTimeoutSeconds: number
}

// Stock's own files may say more than we use: unknown keys pass, known ones must have the right type.
const seconds = z.number().positive().max(31_536_000)

const component = z.object({
  id: z.string(),
  args: z
    .object({
      max_jobs: z.int().min(1).optional(),
      num_of_gpus: z.int().min(0).optional(),
      mem_per_gpu_in_GiB: z.number().min(0).optional(),
      expiration_period: seconds.optional(),
    })
    .optional(),
})

const componentPolicy = {
  class_list_enforcement_mode: z.enum(['enforce', 'warn']).default('enforce'),
  class_allow_list: z.array(z.string()).max(100_000).optional(),
}

type Component = z.infer<typeof component>

function argumentsOf(components: readonly Component[], id: string): NonNullable<Component['args']> {
  return components.find((candidate) => candidate.id === id)?.args ?? {}
}

/** Server's `local/resources.json`; defaults are those of stock without the key (`spec/provision.md` §3.6). */
export const serverResourcesSchema = z
  .object({
    ...componentPolicy,
    servers: z
      .array(
        z.object({
          max_num_clients: z.int().min(1).default(100),
          heart_beat_timeout: seconds.default(600),
          dead_client_grace_period: z.number().min(0).max(31_536_000).default(60),
          max_reg_duration: seconds.default(60),
          admin_timeout: seconds.default(10),
        }),
      )
      .min(1)
      .prefault([{}]),
    components: z.array(component).default([]),
  })
  .transform((file): Omit<ServerSettings, 'requireSignedJobs'> => {
    const server = file.servers[0]!
    return {
      maxSites: server.max_num_clients,
      heartbeatTimeoutSeconds: server.heart_beat_timeout,
      deadClientGraceSeconds: server.dead_client_grace_period,
      maxRegistrationSeconds: server.max_reg_duration,
      adminTimeoutSeconds: server.admin_timeout,
      maxJobs: argumentsOf(file.components, 'job_scheduler').max_jobs ?? 4,
      componentPolicy: {
        mode: file.class_list_enforcement_mode,
        allowed: file.class_allow_list,
      },
    }
  })

/** Site's `local/resources.json`. */
export const siteResourcesSchema = z
  .object({
    ...componentPolicy,
    allow_log_streaming: z.boolean().default(true),
    client: z.object({ retry_timeout: seconds.default(30) }).prefault({}),
    components: z.array(component).default([]),
  })
  .transform((file): Omit<SiteSettings, 'requireSignedJobs'> => {
    const resources = argumentsOf(file.components, 'resource_manager')
    return {
      allowLogStreaming: file.allow_log_streaming,
      retryTimeoutSeconds: file.client.retry_timeout,
      gpus: resources.num_of_gpus ?? 0,
      gpuMemoryGib: resources.mem_per_gpu_in_GiB ?? 0,
      reservationSeconds: resources.expiration_period ?? 300,
      componentPolicy: {
        mode: file.class_list_enforcement_mode,
        allowed: file.class_allow_list,
      },
    }
  })

/** Admin's `local/resources.json`. */
export const adminResourcesSchema = z
  .object({
    admin: z
      .object({
        idle_timeout: seconds.default(900),
        login_timeout: seconds.default(10),
        authenticate_msg_timeout: seconds.default(2),
      })
      .prefault({}),
  })
  .transform(
    ({ admin }): AdminSettings => ({
      idleTimeoutSeconds: admin.idle_timeout,
      loginTimeoutSeconds: admin.login_timeout,
      authenticateTimeoutSeconds: admin.authenticate_msg_timeout,
    }),
  )
