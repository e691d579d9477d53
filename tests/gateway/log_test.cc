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
