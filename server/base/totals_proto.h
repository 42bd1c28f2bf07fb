#ifndef COWHERD_SERVER_BASE_TOTALS_PROTO_H_
#define COWHERD_SERVER_BASE_TOTALS_PROTO_H_

#include "cowherd/v1/types.pb.h"
#include "server/base/totals.h"

namespace cowherd {

v1::TaskTotals ToProto(const Totals& totals);
Totals FromProto(const v1::TaskTotals& proto);

}  // namespace cowherd

#endif  // COWHERD_SERVER_BASE_TOTALS_PROTO_H_
