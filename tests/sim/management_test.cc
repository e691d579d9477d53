// Models and blobs: pull, push, create, copy, delete, uploads.
#include <gtest/gtest.h>

#include "sim/client.h"
#include "sim/fleet.h"
#include "sim/hash.h"
#include "sim/models.h"
#include "sim/pull.h"

namespace sollol::sim {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

class Management : public testing::Test {
 protected:
  Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}, {.name = "b", .models = {nomic()}}},
               .time_scale = 1000}};
  std::string url = fleet.url("a");

  std::vector<std::string> names(std::string_view node) {
    std::vector<std::string> out;
    for (const auto& model : get(fleet.url(node), "/api/tags").json().at("models").as_array()) {
      out.emplace_back(model.at("name").as_string());
    }
    return out;
  }
};

TEST_F(Management, APullReportsItsProgressInOrder) {
  const auto lines = post(url, "/api/pull", {{"model", "nomic-embed-text"}}).lines();
  EXPECT_EQ(lines.at(0).at("status"), "pulling manifest");
  const auto& layer = lines.at(1);
  EXPECT_TRUE(layer.at("status").as_string().starts_with("pulling "));
  EXPECT_EQ(layer.at("digest").as_string().size(), 71U);
  EXPECT_EQ(layer.at("total"), 274'302'450);
  std::vector<std::string> end;
  for (std::size_t i = lines.size() - 3; i < lines.size(); ++i)
    end.emplace_back(lines[i].at("status").as_string());
  EXPECT_EQ(end,
            (std::vector<std::string>{"verifying sha256 digest", "writing manifest", "success"}));
}

TEST_F(Management, APulledModelOfTheFleetIsTheSameModel) {
  EXPECT_EQ(
      post(url, "/api/pull", {{"name", "nomic-embed-text"}, {"stream", false}}).json().at("status"),
      "success");
  const auto digest = [&](std::string_view node) {
    for (const auto& model : get(fleet.url(node), "/api/tags").json().at("models").as_array()) {
      if (model.at("name") == "nomic-embed-text:latest")
        return std::string(model.at("digest").as_string());
    }
    return std::string("absent");
  };
  EXPECT_EQ(digest("a"), digest("b"));
}

TEST_F(Management, APullOfWhatIsNotThereFailsInItsStream) {
  const auto reply = post(url, "/api/pull", {{"model", "no-such-model"}});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.lines().back().at("error"), "pull model manifest: file does not exist");
  EXPECT_EQ(post(url, "/api/pull", {{"model", "no-such-model"}, {"stream", false}}).status, 500);
}

TEST_F(Management, ACopyIsAnotherNameOfTheSameModel) {
  const auto copied = post(url, "/api/copy", {{"source", "llama3.2"}, {"destination", "me/mine"}});
  EXPECT_EQ(copied.status, 200);
  EXPECT_EQ(copied.body, "");
  EXPECT_EQ(names("a").at(0), "me/mine:latest");
  post(url, "/api/generate", {{"model", "llama3.2"}});
  post(url, "/api/generate", {{"model", "me/mine"}});
  EXPECT_EQ(fleet.counters("a").model.loads, 1U);  // one runner for one blob
  EXPECT_EQ(post(url, "/api/copy", {{"source", "zz"}, {"destination", "y"}}).error(),
            "model \"zz\" not found");
}

TEST_F(Management, ADeletedModelIsGone) {
  const auto remove = [&](std::string body) {
    return ask(url, {.method = "DELETE", .path = "/api/delete", .body = std::move(body)});
  };
  const auto removed = remove(R"({"name":"LLAMA3.2"})");
  EXPECT_EQ(removed.status, 200);
  EXPECT_EQ(removed.body, "");
  EXPECT_TRUE(names("a").empty());
  const auto again = remove(R"({"model":"llama3.2"})");
  EXPECT_EQ(again.status, 404);
  EXPECT_EQ(again.error(), "model 'llama3.2' not found");
}

TEST_F(Management, ABlobIsCheckedAndFoundOnItsNodeOnly) {
  const std::string bytes(300'000, 'x');
  const auto path = "/api/blobs/sha256:" + sha256_hex(bytes);
  EXPECT_EQ(ask(url, {.method = "HEAD", .path = path}).status, 404);
  EXPECT_EQ(ask(url, {.path = path, .body = bytes}).status, 201);
  EXPECT_EQ(ask(url, {.path = path, .body = bytes}).status, 200);
  EXPECT_EQ(ask(url, {.method = "HEAD", .path = path}).status, 200);
  EXPECT_EQ(ask(fleet.url("b"), {.method = "HEAD", .path = path}).status, 404);
  const auto wrong = ask(url, {.path = "/api/blobs/sha256-" + std::string(64, '0'), .body = "abc"});
  EXPECT_EQ(wrong.status, 400);
  EXPECT_EQ(wrong.error(), "digest mismatch, expected \"sha256:" + std::string(64, '0') +
                               "\", got \"sha256:" + sha256_hex("abc") + "\"");
  EXPECT_EQ(ask(url, {.path = "/api/blobs/sha256:12", .body = "abc"}).error(),
            "invalid digest format");
}

TEST_F(Management, CreateMakesAModelFromAnotherOrFromBlobs) {
  const auto lines =
      post(url, "/api/create", {{"model", "mine"}, {"from", "llama3.2"}, {"system", "Be brief."}})
          .lines();
  EXPECT_EQ(lines.back().at("status"), "success");
  EXPECT_EQ(post(url, "/api/show", {{"model", "mine"}}).json().at("system"), "Be brief.");
  ask(url, {.path = "/api/blobs/sha256:" + sha256_hex("gguf"), .body = "gguf"});
  const json::object files = {{"m.gguf", "sha256:" + sha256_hex("gguf")}};
  EXPECT_EQ(post(url, "/api/create", {{"model", "filed"}, {"files", files}, {"stream", false}})
                .json()
                .at("status"),
            "success");
  EXPECT_EQ(post(fleet.url("b"), "/api/create", {{"model", "filed"}, {"files", files}}).status,
            400);
  EXPECT_EQ(post(url, "/api/create", {{"model", "none"}}).error(),
            "neither 'from' or 'files' was specified");
}

TEST(Downloads, PullersOfOneBlobShareItsDownload) {
  Downloads downloads;
  const TimePoint start{};
  downloads.join(start, "blob", 100, 10);
  downloads.join(start + 4s, "blob", 100, 10);
  EXPECT_EQ(downloads.progress(start + 5s, "blob").completed, 50U);
  downloads.leave(start + 6s, "blob");
  EXPECT_EQ(downloads.progress(start + 7s, "blob").completed, 70U);
}

TEST(Downloads, WhatCameStaysWhenThePullerLeaves) {
  Downloads downloads;
  const TimePoint start{};
  downloads.join(start, "blob", 100, 10);
  downloads.leave(start + 3s, "blob");
  EXPECT_EQ(downloads.progress(start + 60s, "blob").completed, 30U);
  downloads.join(start + 60s, "blob", 100, 10);
  EXPECT_EQ(downloads.progress(start + 61s, "blob").completed, 40U);
}

}  // namespace
}  // namespace sollol::sim
