# The service builds and its fast tests pass.
{ service, ... }: service
