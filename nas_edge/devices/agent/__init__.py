"""The agent: what is pushed to a device to run and time networks there. One file that needs nothing of nas-edge."""

from pathlib import Path

AGENT_FILE = Path(__file__).with_name("agent.py")
AGENT_VERSION = 1
"""Of the protocol that it speaks; the agent says its own in its first answer."""

__all__ = ["AGENT_FILE", "AGENT_VERSION"]
