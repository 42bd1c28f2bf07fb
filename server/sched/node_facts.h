#ifndef COWHERD_SERVER_SCHED_NODE_FACTS_H_
#define COWHERD_SERVER_SCHED_NODE_FACTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace cowherd {

// What a node says of itself. Fields as in Root and Node of node.proto.
struct LackFacts {
  std::string capability;
  std::string loses;
  bool needed = false;
};

struct RootFacts {
  std::string name;
  std::string path;
  absl::Status error;
  std::string filesystem;
  std::string uuid;
  uint64_t size_bytes = 0;
  uint64_t free_bytes = 0;
  uint32_t block_size = 0;
  bool dedupe_supported = false;
  bool read_only = false;
  std::vector<LackFacts> lacks;
};

struct NodeFacts {
  std::string name;
  std::string instance_id;
  std::string version;
  std::string kernel;
  std::map<std::string, std::string> labels;
  std::vector<RootFacts> roots;
  absl::Time started = absl::InfinitePast();
  uint32_t running_tasks = 0;
  uint32_t max_tasks = 0;
  std::string profile;
  std::vector<std::string> capabilities;
  std::vector<std::string> controlled_tasks;
};

}  // namespace cowherd

#endif  // COWHERD_SERVER_SCHED_NODE_FACTS_H_
