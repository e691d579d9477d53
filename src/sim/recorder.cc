#include "sim/recorder.h"

namespace sollol::sim {
namespace {

constexpr std::size_t kept_max = 64;
constexpr std::size_t kept_body_bytes_max = 1 << 20;

}  // namespace

std::uint64_t NodeCounters::total() const {
  std::uint64_t sum = 0;
  for (const auto& [route, count] : requests) sum += count;
  return sum;
}

std::uint64_t NodeCounters::of(std::string_view route) const {
  const auto found = requests.find(route);
  return found == requests.end() ? 0 : found->second;
}

void Recorder::update(const std::function<void(NodeCounters&)>& change) {
  {
    const std::lock_guard lock(mutex_);
    change(counters_);
  }
  changed_();
}

void Recorder::saw(SeenRequest request) {
  if (request.body.size() > kept_body_bytes_max) request.body.resize(kept_body_bytes_max);
  const std::lock_guard lock(mutex_);
  requests_.push_back(std::move(request));
  if (requests_.size() > kept_max) requests_.pop_front();
}

NodeCounters Recorder::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

std::vector<SeenRequest> Recorder::requests() const {
  const std::lock_guard lock(mutex_);
  return {requests_.begin(), requests_.end()};
}

}  // namespace sollol::sim
