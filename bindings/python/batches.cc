// A batch on a thread of its own: Python asks how far it is.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>

#include <condition_variable>
#include <mutex>

#include "batches.h"
#include "core.h"

namespace sollol::python {

using namespace nb::literals;

struct RunningBatch::Shared {
  std::mutex lock;
  std::condition_variable news;
  std::size_t done = 0;  // lines
  BatchWish wish = BatchWish::go_on;
  std::optional<std::expected<BatchReport, Failure>> report;
};

RunningBatch::RunningBatch(CallStarter start, BatchOptions options)
    : shared_(std::make_shared<Shared>()),
      thread_([shared = shared_, start = std::move(start), options = std::move(options)] {
        const auto watch = [&shared](const BatchProgress& at) {
          const std::scoped_lock lock(shared->lock);
          if (at.done != shared->done) shared->news.notify_all();
          shared->done = at.done;
          return shared->wish;
        };
        auto report = run_batch(options, start, watch);
        const std::scoped_lock lock(shared->lock);
        shared->report = std::move(report);
        shared->news.notify_all();
      }) {}

RunningBatch::~RunningBatch() { close(); }

std::pair<std::size_t, bool> RunningBatch::wait(std::size_t seen, double timeout) {
  const auto slice = std::chrono::duration<double>(timeout);
  const auto until = std::chrono::steady_clock::now() + slice;
  while (true) {
    {
      const OthersRun others_run;
      std::unique_lock lock(shared_->lock);
      const auto most = on_main_thread() ? std::chrono::duration<double>(signal_check_every)
                                         : std::chrono::duration<double>(timeout);
      shared_->news.wait_for(lock, most, [&] { return shared_->done > seen || shared_->report; });
    }
    if (on_main_thread()) check_signals();
    const std::scoped_lock lock(shared_->lock);
    const bool ended = shared_->report.has_value();
    if (ended || shared_->done > seen || std::chrono::steady_clock::now() >= until)
      return {shared_->done, ended};
  }
}

std::string RunningBatch::stopped() {
  const std::scoped_lock lock(shared_->lock);
  if (!shared_->report) return {};
  if (!*shared_->report) raise(shared_->report->error(), Blame::input);
  return (*shared_->report)->stopped;
}

void RunningBatch::close() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(shared_->lock);
    shared_->wish = BatchWish::abandon;
  }
  const OthersRun others_run;
  thread_.join();
}

void RunningBatch::abandon() {
  new std::thread(std::move(thread_));
  new std::shared_ptr<Shared>(shared_);
}

void bind_batches(nb::module_& module) {
  nb::class_<RunningBatch>(module, "RunningBatch")
      .def(
          "wait", &RunningBatch::wait, "seen"_a, "timeout"_a,
          "Lines that are done, and whether it has ended: once more than `seen` are done, it ends, "
          "or the time is over.")
      .def("stopped", &RunningBatch::stopped,
           "Of one that has ended: why that was early; raises what ended it.")
      .def("close", &RunningBatch::close, "Leaves what is in flight.")
      .def("abandon", &RunningBatch::abandon, "In a forked child: leaves everything as it is.");
}

}  // namespace sollol::python
