import { defaultUserProperties, type DirectoryObject } from '../directory/objects.ts'
import { badRequest } from './errors.ts'

/** How objects of one answer are written: which properties, with or without `@odata.type`. */
export type Shape = {
  select: readonly string[] | undefined
  typed: boolean
}

/** Properties that exist and that the simulator has no value for: Graph returns them on `$select` only. */
const selectOnly = new Set([
  'assignedlabels',
  'assignedlicenses',
  'employeeid',
  'externaluserstate',
  'hidefromaddresslists',
  'ismanagementrestricted',
  'ismembermanagementrestricted',
  'onpremisesimmutableid',
  'uniquename',
])

/** JSON of each object by shape. Objects are replaced, never changed, so what is kept here stays true. */
const written = new WeakMap<DirectoryObject, Map<string, string>>()
const maxShapesKept = 8

/** Writes objects of one answer as JSON; `limited` leaves id and type, every scalar null, every collection empty. */
export function objectWriter(shape: Shape): (object: DirectoryObject, limited: boolean) => string {
  const full = `${shape.typed ? 'typed ' : ''}${shape.select?.join(',') ?? ''}`
  const nulls = `limited ${full}`
  return (object, limited) => {
    const key = limited ? nulls : full
    let shapes = written.get(object)
    if (!shapes) written.set(object, (shapes = new Map()))
    const known = shapes.get(key)
    if (known !== undefined) return known
    const text = JSON.stringify(project(object, shape, limited))
    if (shapes.size < maxShapesKept) shapes.set(key, text)
    return text
  }
}

/** The properties of an object that a shape shows. */
export function project(object: DirectoryObject, shape: Shape, limited: boolean): Record<string, unknown> {
  const properties: Readonly<Record<string, unknown>> = object
  const wanted = shape.select ? new Set(shape.select.map((name) => name.toLowerCase())) : undefined
  const projected: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(properties)) {
    if (name === '@odata.type') {
      if (shape.typed) projected[name] = value
    } else if (wanted ? wanted.delete(name.toLowerCase()) : isDefault(object, name)) {
      projected[name] = limited && name !== 'id' ? (Array.isArray(value) ? [] : null) : value
    }
  }
  for (const name of shape.select ?? []) {
    if (wanted?.has(name.toLowerCase()) === true && selectOnly.has(name.toLowerCase())) projected[name] = null
  }
  return projected
}

function isDefault(object: DirectoryObject, name: string): boolean {
  return object['@odata.type'] !== '#microsoft.graph.user' || defaultUserProperties.includes(name)
}

/** Refuses a `$select` of something the type doesn't have. */
export function assertSelectable(
  sample: DirectoryObject | undefined,
  select: readonly string[] | undefined,
): void {
  if (!sample || !select) return
  const known = new Set(Object.keys(sample).map((name) => name.toLowerCase()))
  for (const name of select) {
    if (known.has(name.toLowerCase()) || selectOnly.has(name.toLowerCase())) continue
    const type = sample['@odata.type'].slice(1)
    throw badRequest(`Could not find a property named '${name}' on type '${type}'.`, 'BadRequest')
  }
}

/** The context URL of an answer (OData JSON format 4.01, section 10). */
export function contextUrl(
  baseUrl: string,
  set: string,
  select: readonly string[] | undefined,
  entity = false,
): string {
  return `${baseUrl}/v1.0/$metadata#${set}${select ? `(${select.join(',')})` : ''}${entity ? '/$entity' : ''}`
}
