#include <fmt/format.h>

#include <array>
#include <boost/json/array.hpp>

#include "sim/fields.h"
#include "sim/go_json.h"
#include "sim/hash.h"
#include "sim/model_name.h"
#include "sim/routes.h"

namespace sollol::sim {
namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr auto progress_period = std::chrono::milliseconds{60};
constexpr std::size_t blob_buffer_bytes = 256 << 10;

/// What pull, push, create and delete have in common: a model's name under either key, and
/// `stream`.
struct Target {
  json::object body;
  ModelName name;
  std::string written;
  bool stream = true;
};

ApiResult<Target> read_target(const Call& call) {
  auto body = read_json(call);
  if (!body) return std::unexpected(body.error());
  Fields fields(*body, "PullRequest");
  Target out;
  out.written = fields.text("model");
  if (out.written.empty()) out.written = fields.text("name");
  out.stream = fields.flag("stream", true);
  if (fields.error()) return std::unexpected(*fields.error());
  const auto name = ModelName::parse(out.written);
  if (!name) return refuse(400, "invalid model name");
  out.name = *name;
  out.body = std::move(*body);
  return out;
}

/// Sends progress as a stream, or keeps it to answer with its end.
class Progress {
 public:
  Progress(Call call, bool stream) : call_(std::move(call)), stream_(stream) {}

  asio::awaitable<void> say(json::object line) {
    if (!stream_) co_return;
    const auto text = to_json(line) + "\n";
    co_await call_.exchange.send(ndjson_type, text);
  }

  asio::awaitable<void> status(std::string text) {
    json::object line = {{"status", std::move(text)}};
    co_await say(std::move(line));
  }

  Handled succeed() {
    json::object line = {{"status", "success"}};
    if (!stream_) co_return co_await reply_json(call_, std::move(line));
    co_await say(std::move(line));
    co_await call_.exchange.end();
    co_return ApiResult<void>{};
  }

  /// An error after the first line is a line too.
  Handled fail_with(ApiError error) {
    if (!stream_ || !call_.exchange.started()) co_return std::unexpected(std::move(error));
    json::object line = {{"error", error.text}};
    co_await say(std::move(line));
    co_await call_.exchange.end();
    co_return ApiResult<void>{};
  }

 private:
  Call call_;
  bool stream_;
};

/// A place among the pullers of a blob.
class Puller {
 public:
  Puller(Node& node, std::string blob, std::uint64_t total) : node_(node), blob_(std::move(blob)) {
    node_.downloads.join(node_.clock.now(), blob_, total, node_.spec.pull_bytes_per_s);
  }
  ~Puller() { node_.downloads.leave(node_.clock.now(), blob_); }
  Puller(const Puller&) = delete;
  Puller& operator=(const Puller&) = delete;
  Downloads::State state() const { return node_.downloads.progress(node_.clock.now(), blob_); }

 private:
  Node& node_;
  std::string blob_;
};

/// One layer: progress lines until it is there. What the node has already is one line.
asio::awaitable<void> pull_layer(Call call, Progress& progress, std::string digest,
                                 std::uint64_t total) {
  const auto line = [&](std::uint64_t completed) {
    json::object out = {
        {"status", "pulling " + digest.substr(7, 12)}, {"digest", digest}, {"total", total}};
    if (completed != 0) out["completed"] = completed;
    return out;
  };
  auto& node = call.node;
  if (node.store.has_blob(digest)) {
    auto done = line(total);
    co_return co_await progress.say(std::move(done));
  }
  const Puller puller(node, digest, total);
  while (true) {
    const auto state = puller.state();
    auto now = line(state.completed);
    co_await progress.say(std::move(now));
    if (state.completed >= state.total) break;
    co_await call.exchange.sleep_until(node.clock.real(node.clock.now() + progress_period));
  }
  node.store.add_blob(digest);
}

Handled pull_route(Call call) {
  auto target = read_target(call);
  if (!target) co_return std::unexpected(target.error());
  Progress progress(call, target->stream);
  co_await progress.status("pulling manifest");
  auto model = call.node.catalogue.find(target->written);
  if (!model) {
    ApiError error{500, "pull model manifest: file does not exist"};
    co_return co_await progress.fail_with(std::move(error));
  }
  co_await pull_layer(call, progress, "sha256:" + model->blob, model->size_bytes);
  co_await pull_layer(call, progress, "sha256:" + sha256_hex("config of " + model->digest), 485);
  co_await progress.status("verifying sha256 digest");
  co_await progress.status("writing manifest");
  model->name = target->name.display();
  call.node.store.put(std::move(*model), std::chrono::system_clock::now());
  co_return co_await progress.succeed();
}

Handled push_route(Call call) {
  auto target = read_target(call);
  if (!target) co_return std::unexpected(target.error());
  Progress progress(call, target->stream);
  co_await progress.status("retrieving manifest");
  const auto model = call.node.store.find(target->written);
  if (!model) {
    ApiError error{404, fmt::format("model '{}' not found", target->written)};
    co_return co_await progress.fail_with(std::move(error));
  }
  json::object line = {{"status", "pushing " + model->spec.blob.substr(0, 12)},
                       {"digest", "sha256:" + model->spec.blob},
                       {"total", model->spec.size_bytes},
                       {"completed", model->spec.size_bytes}};
  co_await progress.say(std::move(line));
  co_await progress.status("pushing manifest");
  co_return co_await progress.succeed();
}

/// The model that `create` makes, from another one or from uploaded files.
ApiResult<ModelSpec> created_model(const Call& call, const Target& target) {
  Fields fields(target.body, "CreateRequest");
  const auto from = fields.text("from");
  const auto files = fields.object("files");
  const auto system = fields.text("system");
  const auto parameters = fields.object("parameters");
  if (fields.error()) return std::unexpected(*fields.error());
  if (from.empty() && files.empty()) return refuse(400, "neither 'from' or 'files' was specified");
  ModelSpec spec;
  if (!from.empty()) {
    const auto base = call.node.store.find(from);
    auto pulled = base ? std::optional(base->spec) : call.node.catalogue.find(from);
    if (!pulled) return refuse(500, "pull model manifest: file does not exist");
    spec = std::move(*pulled);
  }
  for (const auto& [name, digest] : files) {
    const auto* text = digest.if_string();
    if (text == nullptr || !call.node.store.has_blob(*text)) {
      return refuse(400, fmt::format("blob {} not found", to_json(digest)));
    }
    spec.blob = std::string(*text).substr(7);
    spec.capabilities = {"completion"};
  }
  spec.name = target.name.display();
  if (!system.empty()) spec.system = system;
  if (const auto* num_ctx = parameters.if_contains("num_ctx");
      num_ctx != nullptr && num_ctx->is_number()) {
    spec.num_ctx = num_ctx->to_number<std::uint32_t>();
  }
  spec.digest = sha256_hex(spec.name + spec.blob + to_json(target.body));
  return spec;
}

Handled create_route(Call call) {
  auto target = read_target(call);
  if (!target) co_return std::unexpected(target.error());
  auto model = created_model(call, *target);
  if (!model && model.error().status == 400) co_return std::unexpected(model.error());
  Progress progress(call, target->stream);
  co_await progress.status("gathering model components");
  if (!model) co_return co_await progress.fail_with(model.error());
  co_await progress.status("using existing layer sha256:" + model->blob);
  co_await progress.status("writing manifest");
  call.node.store.put(std::move(*model), std::chrono::system_clock::now());
  co_return co_await progress.succeed();
}

Handled copy_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  Fields fields(*body, "CopyRequest");
  const auto source = fields.text("source");
  const auto destination = fields.text("destination");
  if (fields.error()) co_return std::unexpected(*fields.error());
  const auto to = ModelName::parse(destination);
  if (!ModelName::parse(source))
    co_return refuse(400, fmt::format("source \"{}\" is invalid", source));
  if (!to) co_return refuse(400, fmt::format("destination \"{}\" is invalid", destination));
  const auto model = call.node.store.find(source);
  if (!model) co_return refuse(404, fmt::format("model \"{}\" not found", source));
  auto spec = model->spec;
  spec.name = to->display();
  call.node.store.put(std::move(spec), std::chrono::system_clock::now(), model->name);
  co_return co_await reply_empty(call, 200);
}

Handled delete_route(Call call) {
  const auto target = read_target(call);
  if (!target) co_return std::unexpected(target.error());
  if (!call.node.store.erase(target->written)) {
    co_return refuse(404, fmt::format("model '{}' not found", target->written));
  }
  co_return co_await reply_empty(call, 200);
}

/// "sha256:<hex>" of either spelling; nullopt when it is none.
std::optional<std::string> blob_digest(std::string_view text) {
  const bool prefixed = text.starts_with("sha256:") || text.starts_with("sha256-");
  if (!prefixed || text.size() != 71 ||
      text.substr(7).find_first_not_of("0123456789abcdefABCDEF") != text.npos)
    return std::nullopt;
  return "sha256:" + std::string(text.substr(7));
}

Handled blob_head_route(Call call) {
  const auto digest = blob_digest(call.parameter);
  if (!digest) co_return refuse(400, "invalid digest format");
  co_return co_await reply_empty(call, call.node.store.has_blob(*digest) ? 200 : 404);
}

/// Hashes the body as it comes; keeps nothing but the digest.
Handled blob_post_route(Call call) {
  const auto digest = blob_digest(call.parameter);
  if (!digest) co_return refuse(400, "invalid digest format");
  if (call.node.store.has_blob(*digest)) co_return co_await reply_empty(call, 200);
  Sha256 hash;
  std::string buffer(blob_buffer_bytes, '\0');
  while (true) {
    const auto bytes = co_await call.exchange.read_some(buffer);
    if (bytes == 0) break;
    hash.update(std::string_view(buffer).substr(0, bytes));
  }
  const auto got = "sha256:" + hash.hex();
  if (got != *digest) {
    co_return refuse(400,
                     fmt::format("digest mismatch, expected \"{}\", got \"{}\"", *digest, got));
  }
  call.node.store.add_blob(*digest);
  co_return co_await reply_empty(call, 201);
}

constexpr auto native = ErrorForm::native;
constexpr Route routes[] = {
    {"POST", "/api/pull", pull_route},
    {"POST", "/api/push", push_route},
    {"POST", "/api/create", create_route},
    {"POST", "/api/copy", copy_route},
    {"DELETE", "/api/delete", delete_route},
    {"HEAD", "/api/blobs/:", blob_head_route},
    {"POST", "/api/blobs/:", blob_post_route, native, Route::Kind::upload},
};

}  // namespace

std::span<const Route> management_routes() { return routes; }

}  // namespace sollol::sim
