#ifndef COWHERD_SERVER_JOBS_ETCD_STORE_H_
#define COWHERD_SERVER_JOBS_ETCD_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "server/etcd/client.h"
#include "server/etcd/election.h"
#include "server/jobs/ended_jobs.h"
#include "server/jobs/job_store.h"

namespace cowherd {

struct EtcdStoreOptions {
  // All keys begin with it.
  std::string prefix;
  EndedLimits limits = EndedLimits();
};

// Keeps jobs in etcd. Writes take effect only while `leadership` holds, and then all or nothing: a write that
// does not fit in one transaction goes to a journal first, which the next call, or the next leader, brings
// to its end if this one could not. So a write that failed with STORE_FULL, say, may be carried out later, or
// have been; the same change again does no harm. What became of it is looked at before anything else is
// written: a job that Create refused is then taken away again.
//
// With a null `leadership` it only reads, writes fail with NOT_LEADER. Get and Results show no large write in
// part: they wait for its end, and after 2 s fail with UNAVAILABLE "STORE_BUSY"; List may.
// FAILED_PRECONDITION "STORE_NEWER": a later version wrote it. DATA_LOSS "STORE_CORRUPT". UNAVAILABLE or
// DEADLINE_EXCEEDED: no member of the cluster answers. Both must outlive the store.
std::unique_ptr<JobStore> MakeEtcdStore(EtcdClient& client, const Leadership* leadership,
                                        EtcdStoreOptions options);

// The key of the leadership over a store with this prefix.
std::string EtcdLeaderKey(const std::string& prefix);

}  // namespace cowherd

#endif  // COWHERD_SERVER_JOBS_ETCD_STORE_H_
