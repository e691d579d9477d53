"""LlamaIndex over all nodes: a gateway is an Ollama to it, so its address is all that changes.

    pip install llama-index-llms-ollama llama-index-embeddings-ollama
    python llamaindex_query.py --gateway http://127.0.0.1:11434
"""

import argparse

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama

PASSAGES = [
    "The workshop is open on weekdays from 8 to 18 o'clock. On Saturdays it closes at noon.",
    "Keys are kept by the caretaker. Whoever takes one signs the book beside the door.",
    "Wood from the left shelf is free for all.",
]


def weather(city: str) -> str:
    """The weather in a city."""
    return f"In {city} it rains."


def main() -> None:
    arguments = read_arguments()
    # Without a context_window it asks for all that the model was trained for, and nodes load the model anew for that.
    llm = Ollama(model=arguments.model, base_url=arguments.gateway, request_timeout=300, context_window=4096)
    embeddings = OllamaEmbedding(model_name=arguments.embed_model, base_url=arguments.gateway)
    print("Answer:", llm.chat([ChatMessage(role="user", content="Why is the sky blue?")]).message.content)

    index = VectorStoreIndex.from_documents([Document(text=text) for text in PASSAGES], embed_model=embeddings)
    found = index.as_query_engine(llm=llm, similarity_top_k=1, streaming=True).query(arguments.question)
    print("Nearest:", found.source_nodes[0].text)
    print("Stream: ", end="")
    for piece in found.response_gen:
        print(piece, end="", flush=True)

    print()

    tool = FunctionTool.from_defaults(weather)
    print("Tool:", llm.predict_and_call([tool], "How is the weather in Lisbon?"))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="LlamaIndex through a gateway.")
    parser.add_argument("question", nargs="?", default="When is the workshop open?")
    parser.add_argument("--gateway", metavar="URL", default="http://127.0.0.1:11434")
    parser.add_argument("--model", default="llama3.2")
    parser.add_argument("--embed-model", default="nomic-embed-text")
    return parser.parse_args()


if __name__ == "__main__":
    main()
