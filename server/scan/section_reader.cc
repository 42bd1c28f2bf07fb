#include "server/scan/section_reader.h"

#include <utility>

#include "server/scan/fingerprints.h"

namespace cowherd {

SectionReader::SectionReader(uint32_t block_size, unsigned threads) : block_size_(block_size) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

SectionReader::~SectionReader() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  pushed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SectionReader::Push(std::unique_ptr<Section> section) {
  auto job = std::make_shared<Job>();
  job->section = std::move(section);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(job);
    waiting_.push_back(std::move(job));
  }
  pushed_.notify_one();
}

std::unique_ptr<Section> SectionReader::Pop() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (jobs_.empty()) return nullptr;
  read_.wait(lock, [this] { return jobs_.front()->read; });
  std::unique_ptr<Section> section = std::move(jobs_.front()->section);
  jobs_.pop_front();
  return section;
}

void SectionReader::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    pushed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    const std::shared_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Section& section = *job->section;
    absl::StatusOr<std::vector<uint64_t>> fingerprints =
        ReadFingerprints(section.file->open->fd.get(), block_size_, section.extents, section.first_block,
                         section.blocks, section.bytes_read);
    section.status = fingerprints.status();
    if (fingerprints.ok()) section.fingerprints = *std::move(fingerprints);
    lock.lock();
    job->read = true;
    read_.notify_one();
  }
}

}  // namespace cowherd
