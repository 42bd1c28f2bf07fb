#include "server/controller/list_jobs.h"

#include "server/base/status.h"
#include "server/controller/convert.h"
#include "server/controller/request.h"

namespace cowherd {

absl::Status ListJobsFrom(const v1::ListJobsRequest& request, JobLister list,
                          v1::ListJobsResponse* response) {
  ASSIGN_OR_RETURN(const CheckedList checked, CheckListJobs(request));
  ASSIGN_OR_RETURN(const std::vector<JobRecord> records,
                   list(checked.states, checked.before, checked.page_size));
  for (const JobRecord& record : records) {
    ASSIGN_OR_RETURN(*response->add_jobs(), ToProto(record, /*with_tasks=*/false));
  }
  if (records.empty()) return absl::OkStatus();
  const uint64_t last = records.back().job.sequence;
  ASSIGN_OR_RETURN(const std::vector<JobRecord> more, list(checked.states, last, 1));
  if (!more.empty()) response->set_next_page_token(PageToken(last));
  return absl::OkStatus();
}

}  // namespace cowherd
