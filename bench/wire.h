/* wire: the one text form between parent and worker, a JSON object a line.
 *
 * Parent to worker (worker's stdin)        Worker to parent (worker's stdout)
 *   {"do":"hello"}                           {"is":"hello","device":{..},"environment":{..},
 *                                             "providers":{"attention":["cuda/naive",..],..}}
 *   {"do":"check","cell":KEY}                {"is":"check","cell":KEY,"supported":bool,"reason":"",
 *                                             "bytes":tensors + workspace,"free_bytes":N}
 *   {"do":"ceilings"}                        {"is":"ceilings","ceilings":[{..},..]}
 *   {"do":"characterize"}                    {"is":"stage",..}, {"is":"ceiling","ceiling":{..}} each,
 *                                            {"is":"absent","name":"..","reason":".."} for one that
 *                                            the device does not have; at last {"is":"done"}
 *   {"do":"set-ceilings","ceilings":[..]}    {"is":"done"} (later records carry floor_ns)
 *   {"do":"run","cell":KEY,"seed":"S",       {"is":"stage","stage":"proof"} .. (sign of life)
 *    "policy":{..}[,"proved":SUM]}           {"is":"record","record":{..}}
 *   {"do":"profile","cell":KEY,"seed":"S",   {"is":"record","record":{..}} (values and kernels only;
 *    "set":"basic"}                           set: as --counters, basic where it is not said)
 *   {"do":"timeline","cell":KEY,"seed":"S"}  {"is":"timeline","validity":"ok","interval_ns":..,
 *                                             "launches":N,"dropped":N,"metrics":["pm_busy_pct",..],
 *                                             "rows":[[ns since the first, a number a metric],..]}
 *   {"do":"launch","cell":KEY,"seed":"S"}    {"is":"done"} (one launch, nothing attached)
 *   {"do":"prove","cell":KEY,"seed":"S",     {"is":"record","record":{..}} (status, checksum,
 *    "policy":{..},"outputs":[PATH,..],       checks: outputs that a peer left in files against the
 *    "device":{..}[,"proved":SUM]}            reference; device: the one that measured, for floor_ns)
 *   {"do":"verify","case":FOLDER,            {"is":"verification","case":NAME,"verdict":"ok",..}
 *    "dtype":"f32"}                           (golden data; bench/verify/verify.h)
 *   {"do":"draw","seed":"S","max_work":N     {"is":"drawn","cell":KEY,"layout":"strided",
 *    [,"op":".."][,"provider":".."]}          "values":"strong"} (bench/verify/fuzz.h)
 *   {"do":"replay","cell":KEY,"seed":"S",    {"is":"verification","case":KEY,..}
 *    "max_work":N[,"layout":".."]             (bench/verify/replay.h)
 *    [,"values":".."]}
 *   {"do":"sustain","cell":KEY,"seed":"S",   {"is":"stage","stage":"sustain"} ..
 *    "seconds":N}                            {"is":"sustain","points":[[seconds, launches_per_s,
 *                                             sm_mhz, power_w, temperature_c],..]} (null: unknown)
 *   end of file                              exits 0
 * "set": the counter sets of profile/sets.h, "basic" where it is not there. The curves of sustain and
 * timeline may carry "validity": why there are no rows.
 * "proved" is the checksum of an earlier run of the cell that was proved in this campaign: an output
 * with the same bits is taken for proved, another one is compared with the reference again.
 * A request that cannot be served: {"is":"error","message":".."}. 64-bit integers that may exceed 2^53
 * travel as decimal strings; NAN as null, infinities as "inf" and "-inf". A field of a device,
 * environment or record that is not there is unknown; a policy or ceiling must be whole. Cells travel
 * as their canonical key.
 */
#ifndef SQ_BENCH_WIRE_H
#define SQ_BENCH_WIRE_H

#include <jansson.h>

#include "bench/policy.h"
#include "core/record.h"

#ifdef __cplusplus
extern "C" {
#endif

json_t *sq_wire_record(const sq_record *record);
/* `record` must be initialised for its cell; replaces everything but uuid, cell, replicate, attempt. */
sq_status sq_wire_record_parse(const json_t *json, sq_record *record, sq_error *err);

json_t *sq_wire_device(const sq_device *device);
sq_status sq_wire_device_parse(const json_t *json, sq_device *device, sq_error *err);
json_t *sq_wire_environment(const sq_environment *environment);
sq_status sq_wire_environment_parse(const json_t *json, sq_environment *environment, sq_error *err);
json_t *sq_wire_policy(const sq_policy *policy);
sq_status sq_wire_policy_parse(const json_t *json, sq_policy *policy, sq_error *err);
json_t *sq_wire_ceiling(const sq_ceiling *ceiling);
sq_status sq_wire_ceiling_parse(const json_t *json, sq_ceiling *ceiling, sq_error *err);

#ifdef __cplusplus
}
#endif
#endif
