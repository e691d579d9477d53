#include "gateway/state_keeper.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <cstdio>
#include <filesystem>

#include "discovery/files.h"
#include "gateway/state_file.h"

namespace sollol::gateway {

namespace asio = net::asio;

StateKeeper::StateKeeper(const OptionsSource& options, Control& control)
    : options_(options), control_(control), path_(options.get()->state.file) {}

StateKeeper::~StateKeeper() { stop(); }

void StateKeeper::restore() {
  if (path_.empty()) return;
  const Result<std::string> text = discovery::read_file(path_);
  if (!text && text.error().kind == ErrorKind::not_found) return;
  if (!text) {
    spdlog::warn("state file: {}; starting without", text.error().detail);
    return;
  }
  const Result<SavedState> state = parse_state(*text);
  if (!state) {
    const std::string aside = path_ + ".bad";
    std::error_code ignored;
    std::filesystem::rename(path_, aside, ignored);
    spdlog::warn("state file {}: {}; starting without, it is kept as {}", path_,
                 state.error().detail, aside);
    return;
  }
  control_.restore(*state);
}

void StateKeeper::start() {
  if (!path_.empty()) thread_ = std::thread([this] { run(); });
}

void StateKeeper::run() {
  while (true) {
    const auto pause = options_.get()->state.interval;
    {
      std::unique_lock lock(sleeping_);
      if (wake_.wait_for(lock, pause, [this] { return ending_; })) return;
    }
    save();
  }
}

void StateKeeper::save() {
  if (path_.empty()) return;
  const SavedState state =
      asio::co_spawn(control_.context(), control_.saved_state(), asio::use_future).get();
  write(state_text(state));
}

void StateKeeper::write(const std::string& text) {
  const std::scoped_lock lock(writing_);
  if (handed_off_ || text == written_) return;
  const Result<void> done = discovery::write_file_atomically(path_, text);
  if (done) {
    written_ = text;
    if (std::exchange(failed_, false)) spdlog::info("state file {}: written again", path_);
    return;
  }
  if (!std::exchange(failed_, true)) {
    spdlog::warn("state file: {}; what is learnt will not outlive the process until it can be",
                 done.error().detail);
  }
}

void StateKeeper::hand_off() {
  const std::scoped_lock lock(writing_);
  handed_off_ = true;
}

void StateKeeper::stop() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(sleeping_);
    ending_ = true;
  }
  wake_.notify_all();
  thread_.join();
  save();
}

}  // namespace sollol::gateway
