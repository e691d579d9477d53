"""LangChain over all nodes: a gateway is an Ollama to it, so its address is all that changes.

    pip install langchain-ollama
    python langchain_chat.py --gateway http://127.0.0.1:11434

With `--openai` (`pip install langchain-openai`) the chats go over the gateway's OpenAI API.
"""

import argparse

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"In {city} it rains."


def main() -> None:
    arguments = read_arguments()
    chat = chat_model(arguments)
    print("Answer:", chat.invoke("Why is the sky blue?").text)
    print("Stream: ", end="")
    for piece in chat.stream("Tell me about the sea."):
        print(piece.text, end="", flush=True)
    print()
    print("Answer:", ask_with_tool(chat, "How is the weather in Lisbon?"))
    embeddings = OllamaEmbeddings(model=arguments.embed_model, base_url=arguments.gateway)
    print("Nearest:", nearest(embeddings, "milk and cheese", ["cheese from milk", "a quiet garden"]))


def chat_model(arguments: argparse.Namespace) -> BaseChatModel:
    if not arguments.openai:
        return ChatOllama(model=arguments.model, base_url=arguments.gateway)
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model=arguments.model, base_url=f"{arguments.gateway}/v1", api_key="any")


def ask_with_tool(chat: BaseChatModel, question: str) -> str:
    """The model asks for the tool, gets what it says, and answers."""
    messages: list[BaseMessage] = [HumanMessage(question)]
    wish = chat.bind_tools([weather]).invoke(messages)
    messages.append(wish)
    for call in wish.tool_calls:
        print("Tool:", call["name"], call["args"])
        messages.append(weather.invoke(call))
    return chat.invoke(messages).text


def nearest(embeddings: OllamaEmbeddings, asked: str, texts: list[str]) -> str:
    vector = embeddings.embed_query(asked)
    vectors = embeddings.embed_documents(texts)
    return max(zip(texts, vectors), key=lambda pair: sum(a * b for a, b in zip(vector, pair[1])))[0]


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="LangChain through a gateway.")
    parser.add_argument("--gateway", metavar="URL", default="http://127.0.0.1:11434")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--embed-model", default="nomic-embed-text")
    parser.add_argument("--openai", action="store_true", help="chat over the OpenAI API")
    return parser.parse_args()


if __name__ == "__main__":
    main()
