// What logs hold: neither prompts nor keys, at any level.
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <boost/json/parse.hpp>
#include <fstream>
#include <map>
#include <sstream>

#include "discovery/files.h"
#include "discovery/temporary_folder.h"
#include "gateway/keys.h"
#include "harness.h"

namespace sollol::test {
namespace {

constexpr std::string_view secret = "zebra-secret-prompt";

/// Everything that the process logs while it lives, at the finest level.
class CapturedLog {
 public:
  CapturedLog() : before_(spdlog::default_logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    auto logger = std::make_shared<spdlog::logger>("captured", std::move(sink));
    logger->set_level(spdlog::level::trace);
    spdlog::set_default_logger(std::move(logger));
  }
  ~CapturedLog() { spdlog::set_default_logger(before_); }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  std::string text() const { return text_.str(); }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream text_;
};

/// Each route with the mark in its body, its query and its fields.
void ask_everything(TestFleet& fleet, const std::string& fields) {
  const std::string mark(secret);
  const std::string body = R"({"model":"llama3.2","name":"llama3.2","prompt":")" + mark +
                           R"(","input":")" + mark + R"(","messages":[{"role":"user","content":")" +
                           mark + R"("}],"max_tokens":5,"source":"llama3.2","destination":"copy"})";
  for (const char* path :
       {"/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/v1/chat/completions",
        "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages", "/api/show",
        "/api/copy", "/api/pull", "/api/push", "/api/create", "/api/me",
        "/api/experimental/web_search", "/sollol/v1/nodes", "/nowhere"}) {
    fleet.ask("POST", std::string(path) + "?q=" + mark, body, fields);
    fleet.ask("POST", path, mark, fields);
  }
  for (const char* path : {"/", "/api/tags", "/api/ps", "/api/version", "/v1/models", "/metrics",
                           "/sollol/v1/nodes", "/sollol/v1/decisions", "/sollol/v1/status"})
    fleet.ask("GET", std::string(path) + "?key=" + mark, {}, fields);
}

/// The line that the request makes, so many times, as a file has it.
std::string lines_of(const gateway::Request& request, unsigned times, TimePoint now) {
  const TemporaryFolder folder;
  gateway::Options options;
  options.access_log = gateway::AccessLog::to_file;
  options.access_log_file = folder / "access.log";
  const auto file = gateway::AccessLogFile::open(options);
  if (!file) return {};
  gateway::AccessLogBuffer buffer(**file);
  for (unsigned i = 0; i < times; ++i) buffer.add(request, now);
  buffer.flush();
  return discovery::read_file(folder / "access.log").value_or("");
}

TEST(AccessLog, WritesEveryFieldOfALine) {
  gateway::Request request;
  request.id = "7";
  request.client = "127.0.0.1";
  request.method = "POST";
  request.target = "/api/chat?secret";
  request.path_length = 9;
  request.arrived_wall = WallTime{std::chrono::nanoseconds{1'787'306'400'000'456'789}};
  request.arrived = TimePoint(5s);
  request.urgency = cluster::Urgency::batch;
  request.outcome = {.status = 200,
                     .key = "me",
                     .node = "box:11434",
                     .reason = "warm",
                     .model = "a\"b",
                     .problem = "line\nend",
                     .queued = 1ms,
                     .first_byte = 20ms,
                     .bytes_out = 99,
                     .prompt_tokens = 3,
                     .output_tokens = 7,
                     .load = 2s,
                     .prefill = 5us,
                     .decode = 2s,
                     .num_ctx = 4096,
                     .num_predict = 12,
                     .stream = true,
                     .session = 255,
                     .attempts = 2,
                     .hedge = "won",
                     .resumed = 1};
  EXPECT_EQ(
      lines_of(request, 1, TimePoint(6500ms)),
      R"({"time":"2026-08-21T10:00:00.000456789Z","id":"7","client":"127.0.0.1","key":"me",)"
      R"("method":"POST","path":"/api/chat","model":"a\"b","node":"box:11434","reason":"warm",)"
      R"("status":200,"duration_s":1.500000,"queued_s":0.001000,"ttft_s":0.020000,)"
      R"("prompt_tokens":3,"output_tokens":7,"load_s":2.000000,"prefill_s":0.000005,)"
      R"("num_ctx":4096,"num_predict":12,"stream":true,"urgency":"batch",)"
      R"("session":"00000000000000ff","tokens_per_s":3.50,"resumed":1,"attempts":2,)"
      R"("hedge":"won","bytes_out":99,"problem":"line\nend"})"
      "\n");
}

TEST(AccessLog, HasRoomForTheLongestLine) {
  constexpr auto most = std::numeric_limits<std::uint64_t>::max();
  constexpr Duration century = std::chrono::hours(24 * 365 * 100);
  const std::string odd(300, '\1');
  gateway::Request request;
  request.id = request.target = odd;
  request.client = request.method = std::string(300, 'x');
  request.path_length = odd.size();
  request.arrived_wall = WallTime::max();
  request.urgency = cluster::Urgency::batch;
  request.outcome = {.status = std::numeric_limits<int>::max(),
                     .key = odd,
                     .node = odd,
                     .reason = std::string(300, 'x'),
                     .model = odd,
                     .problem = odd,
                     .queued = century,
                     .first_byte = century,
                     .bytes_out = most,
                     .prompt_tokens = most,
                     .output_tokens = most,
                     .load = century,
                     .prefill = century,
                     .decode = century,
                     .num_ctx = std::numeric_limits<std::uint32_t>::max(),
                     .num_predict = most,
                     .stream = false,
                     .session = most,
                     .attempts = std::numeric_limits<std::uint32_t>::max(),
                     .hedge = "withheld",
                     .resumed = std::numeric_limits<std::uint32_t>::max()};
  const std::string lines = lines_of(request, 50, TimePoint(century));
  EXPECT_EQ(std::ranges::count(lines, '\n'), 50);
  std::istringstream all(lines);
  for (std::string line; std::getline(all, line);) {
    const auto fields = boost::json::parse(line).as_object();
    EXPECT_EQ(fields.at("problem").as_string(), odd);
    EXPECT_EQ(fields.at("bytes_out").as_uint64(), most);
  }
}

TEST(Logs, HoldNeitherPromptsNorKeys) {
  TemporaryFolder folder;
  gateway::KeyRecord record;
  record.name = "operator";
  record.admin = true;
  const std::string token = gateway::make_token(record);
  std::ofstream(folder / "keys.toml") << gateway::keys_text({&record, 1});
  const CapturedLog log;
  std::string decisions;
  {
    sim::FleetConfig config = equal_nodes(2, {chat_model(), embedding_model()});
    // Nodes that quote the prompt in their errors.
    const std::string quote = "cannot go on with: " + std::string(secret);
    for (sim::NodeSpec& node : config.nodes) {
      node.faults = {
          {.kind = sim::FaultKind::error_after_tokens, .tokens = 1, .text = quote, .count = 8},
          {.kind = sim::FaultKind::error, .text = quote, .count = 4}};
    }
    TestFleet fleet(std::move(config),
                    [&](gateway::Options& options) {
                      options.access.keys_file = folder / "keys.toml";
                      options.access_log = gateway::AccessLog::to_file;
                      options.access_log_file = folder / "access.log";
                    },
                    {.ca_file = {}, .fields = "Authorization: Bearer " + token + "\r\n"});
    ask_everything(fleet, "Authorization: Bearer " + token + "\r\n");
    ask_everything(fleet, "x-api-key: " + token + "\r\n");
    ask_everything(fleet, "Authorization: Bearer wrong-" + std::string(secret) + "\r\n");
    decisions = fleet.ask("GET", "/sollol/v1/decisions").body;
  }
  const auto access = discovery::read_file(folder / "access.log");
  ASSERT_TRUE(access.has_value());
  EXPECT_TRUE(access->contains("\"key\":\"operator\""))
      << "the access log is not what was looked at";
  for (const std::string& text : {*access, log.text(), decisions}) {
    EXPECT_FALSE(text.empty());
    const auto at = std::min(text.find(secret), text.find(token.substr(27)));
    EXPECT_EQ(at, std::string::npos) << text.substr(at < 200 ? 0 : at - 200, 400);
  }
}

TEST(Logs, TellWhatAReplayNeeds) {
  TemporaryFolder folder;
  {
    TestFleet fleet(equal_nodes(1, {chat_model(), embedding_model()}),
                    [&](gateway::Options& options) {
                      options.access_log = gateway::AccessLog::to_file;
                      options.access_log_file = folder / "access.log";
                    });
    fleet.ask("POST", "/api/generate",
              R"({"model":"llama3.2","prompt":"Hi","options":{"num_predict":5}})");
    fleet.ask("POST", "/v1/chat/completions",
              R"({"model":"llama3.2","messages":[{"role":"user","content":"Hi"}],"max_tokens":7})",
              "X-Sollol-Priority: low\r\n");
    fleet.ask("POST", "/api/embed", R"({"model":"nomic-embed-text","input":"Hi"})");
  }
  std::ifstream file(folder / "access.log");
  std::map<std::string, boost::json::object> lines;
  for (std::string line; std::getline(file, line);) {
    auto fields = boost::json::parse(line).as_object();
    lines[std::string(fields.at("path").as_string())] = std::move(fields);
  }
  const auto& generate = lines["/api/generate"];
  EXPECT_EQ(generate.at("num_predict"), 5);
  EXPECT_EQ(generate.at("stream"), true);
  EXPECT_FALSE(generate.contains("urgency"));
  const auto& chat = lines["/v1/chat/completions"];
  EXPECT_EQ(chat.at("num_predict"), 7);
  EXPECT_EQ(chat.at("stream"), false);
  EXPECT_EQ(chat.at("urgency"), "batch");
  const auto& embed = lines["/api/embed"];
  EXPECT_FALSE(embed.contains("num_predict"));
  EXPECT_EQ(embed.at("stream"), false);
}

}  // namespace
}  // namespace sollol::test
