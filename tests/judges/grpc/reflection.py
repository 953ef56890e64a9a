"""A service on gRPC's C core that tells what it looks like, as gRPC's own package for Python does: in v1alpha.

Serves grpc.health.v1.Health on a port that the kernel chose, which is the one line on stdout.
"""

from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

server = grpc.server(futures.ThreadPoolExecutor(2))
health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
reflection.enable_server_reflection(("grpc.health.v1.Health", reflection.SERVICE_NAME), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
