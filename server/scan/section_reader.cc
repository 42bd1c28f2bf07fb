#include "server/scan/section_reader.h"

#include <utility>

#include "server/scan/fingerprints.h"

namespace cowherd {

SectionReader::SectionReader(uint32_t block_size) : block_size_(block_size), thread_([this] { Run(); }) {}

SectionReader::~SectionReader() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  pushed_.notify_one();
  thread_.join();
}

void SectionReader::Push(std::unique_ptr<Section> section) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    waiting_.push_back(std::move(section));
    ++on_the_way_;
  }
  pushed_.notify_one();
}

std::unique_ptr<Section> SectionReader::Pop() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (on_the_way_ == 0) return nullptr;
  read_.wait(lock, [this] { return !done_.empty(); });
  std::unique_ptr<Section> section = std::move(done_.front());
  done_.pop_front();
  --on_the_way_;
  return section;
}

void SectionReader::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    pushed_.wait(lock, [this] { return ending_ || !waiting_.empty(); });
    if (ending_) return;
    std::unique_ptr<Section> section = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    absl::StatusOr<std::vector<uint64_t>> fingerprints =
        ReadFingerprints(section->file->open->fd.get(), block_size_, section->extents, section->first_block,
                         section->blocks, section->bytes_read);
    section->status = fingerprints.status();
    if (fingerprints.ok()) section->fingerprints = *std::move(fingerprints);
    lock.lock();
    done_.push_back(std::move(section));
    read_.notify_one();
  }
}

}  // namespace cowherd
