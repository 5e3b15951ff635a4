import { describe, expect, it } from 'vitest'
import { readDeployMap, resolveDeployMap } from './deploy-map.ts'
import { launcherBringsCode, resolveLauncherOptions } from './launcher-spec.ts'
import { resolveResources, resourceRequirement } from './resource-spec.ts'

describe('resolveDeployMap', () => {
  it.each([
    ['a list', { a: ['server', 's1'], b: ['s2'] }],
    ['a text', { a: ['server', 's1'], b: 's2' }],
    ['an object', { a: { sites: ['server', 's1'] }, b: { targets: ['s2'] } }],
    ['a mixed list', { a: ['server', { sites: ['s1'] }], b: [{ targets: ['s2'] }] }],
    [
      'targets before sites in an object',
      { a: { sites: ['no'], targets: ['server', 's1'] }, b: 's2' },
    ],
    [
      'sites before targets in a list',
      { a: [{ sites: ['server', 's1'], targets: ['no'] }], b: 's2' },
    ],
  ])('reads %s', (_, deploy_map) => {
    const deployments = resolveDeployMap(readDeployMap({ deploy_map }), ['s1', 's2', 's3'])
    expect([...deployments]).toEqual([
      ['server', 'a'],
      ['s1', 'a'],
      ['s2', 'b'],
    ])
  })

  it.each([['@ALL'], [['@all']], [{ sites: ['@All'] }]])('reads %j as everybody', (value) => {
    const map = readDeployMap({ deploy_map: { app: value } })
    expect([...resolveDeployMap(map, ['s1']).keys()]).toEqual(['server', 's1'])
  })

  it('takes no site called server for a client', () => {
    const map = readDeployMap({ deploy_map: { app: ['@ALL'] } })
    expect([...resolveDeployMap(map, ['server', 's1']).keys()]).toEqual(['server', 's1'])
  })
})

describe('resources', () => {
  it('override the default field by field, and ask the manager only for its own', () => {
    const meta = {
      resource_spec: {
        '@default': { num_of_cpus: 1, memory: '1Gi' },
        s1: { num_of_gpus: 2, memory: '2Gi', mem_per_gpu_in_GiB: 4 },
        s2: { num_of_gpus: 0, mem_per_gpu_in_GiB: 4, licence: 1 },
      },
    }
    expect(resolveResources(meta, 's1')).toEqual({
      num_of_cpus: 1,
      memory: '2Gi',
      num_of_gpus: 2,
      mem_per_gpu_in_GiB: 4,
    })
    expect(resourceRequirement(meta, 's1')).toEqual({ num_of_gpus: 2, mem_per_gpu_in_GiB: 4 })
    expect(resourceRequirement(meta, 's2')).toEqual({ licence: 1 })
    expect(resourceRequirement(meta, 's3')).toEqual({})
    expect(resourceRequirement({}, 'constructor')).toEqual({})
  })

  it('read the nested form', () => {
    const meta = { resource_spec: { s1: { process: { num_of_gpus: 1 }, docker: { image: 'i' } } } }
    expect(resourceRequirement(meta, 's1')).toEqual({ num_of_gpus: 1 })
    expect(resolveLauncherOptions(meta, 's1', 'docker')).toEqual({ image: 'i' })
    expect(launcherBringsCode(meta, 's1')).toBe(true)
    expect(launcherBringsCode(meta, 's2')).toBe(false)
  })
})

describe('launcher options', () => {
  it('merge the default with those of the site', () => {
    const meta = {
      launcher_spec: {
        default: { docker: { shm_size: '1g', num_of_gpus: 1 } },
        s1: { docker: { num_of_gpus: 2 }, slurm: { additional_node_command: 'x' } },
      },
    }
    expect(resolveLauncherOptions(meta, 's1', 'docker')).toEqual({ shm_size: '1g', num_of_gpus: 2 })
    expect(resolveLauncherOptions(meta, 's2', 'docker')).toEqual({ shm_size: '1g', num_of_gpus: 1 })
    expect([launcherBringsCode(meta, 's1'), launcherBringsCode(meta, 's2')]).toEqual([true, false])
  })
})
